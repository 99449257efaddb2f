package service

import (
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// veil replaces hidden text.
const veil = "xxxxx"

// Secret is a value of the environment that must stay hidden. Printing, logging or
// encoding it does not reveal it; only Reveal does.
type Secret string

// Reveal returns the secret.
func (s Secret) Reveal() string { return string(s) }

// Format writes veil for every verb. An empty secret is written as an empty string.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.shown()) }

// MarshalText returns the same text for encoders and the log.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.shown()), nil }

func (s Secret) shown() string {
	if s == "" {
		return ""
	}
	return veil
}

// SecretURL is the address of a server, possibly with credentials. It is printed without
// its password and without parameters that are not known to be harmless. Reveal returns
// the whole URL.
type SecretURL string

// Reveal returns the whole URL.
func (u SecretURL) Reveal() string { return string(u) }

// Format writes the URL without its secrets for every verb.
func (u SecretURL) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, u.shown()) }

// MarshalText returns the same text for encoders and the log.
func (u SecretURL) MarshalText() ([]byte, error) { return []byte(u.shown()), nil }

// harmless lists the URL parameters that are shown: parameters of RabbitMQ and
// PostgreSQL URLs that configure the connection and contain no credentials.
var harmless = []string{
	"auth_mechanism", "cacertfile", "certfile", "channel_max", "connection_timeout", "frame_max", "heartbeat", "keyfile", "server_name_indication", "verify",
	"application_name", "connect_timeout", "default_query_exec_mode", "pool_max_conns", "pool_max_conn_idle_time", "pool_max_conn_lifetime",
	"pool_min_conns", "search_path", "sslcert", "sslkey", "sslmode", "sslrootcert", "statement_timeout", "synchronous_commit", "target_session_attrs",
}

// plain matches a harmless parameter's value.
var plain = regexp.MustCompile(`^[\w.,:/%+-]*$`)

// shown returns the URL without its secrets. If an unencoded character makes it unclear
// where a password starts and ends, it hides the whole URL.
func (u SecretURL) shown() string {
	parsed, err := url.Parse(string(u))
	if err != nil || parsed.Fragment != "" || strings.Contains(parsed.Opaque+parsed.Path+parsed.RawQuery, "@") {
		return veil
	}
	if _, set := parsed.User.Password(); set {
		parsed.User = url.UserPassword(parsed.User.Username(), veil)
	}
	var pairs []string
	for pair := range strings.SplitSeq(parsed.RawQuery, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if pair != "" && (!slices.Contains(harmless, name) || !plain.MatchString(value)) {
			pair = veil
		}
		pairs = append(pairs, pair)
	}
	parsed.RawQuery = strings.Join(pairs, "&")
	return parsed.String()
}
