package service

import (
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// veil stands for what is not shown.
const veil = "xxxxx"

// Secret is a value of the environment that nobody is to see. However it is
// printed, logged or encoded, it does not come out; Reveal gives it to whom it is
// for.
type Secret string

// Reveal returns the secret.
func (s Secret) Reveal() string { return string(s) }

// Format prints something else, whatever the verb. An empty secret is shown as such.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.shown()) }

// MarshalText is what encoders and the log get.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.shown()), nil }

func (s Secret) shown() string {
	if s == "" {
		return ""
	}
	return veil
}

// SecretURL is the address of a server with what it takes to be let in: neither
// its password is ever shown nor a parameter that is not known to be harmless.
// Reveal gives the whole.
type SecretURL string

// Reveal returns the URL as it is.
func (u SecretURL) Reveal() string { return string(u) }

// Format prints the URL without its secrets, whatever the verb.
func (u SecretURL) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, u.shown()) }

// MarshalText is what encoders and the log get.
func (u SecretURL) MarshalText() ([]byte, error) { return []byte(u.shown()), nil }

// harmless are the parameters of URLs that are shown: those of RabbitMQ's and of
// PostgreSQL's that say how to connect, none of which says who we are.
var harmless = []string{
	"auth_mechanism", "cacertfile", "certfile", "channel_max", "connection_timeout", "frame_max", "heartbeat", "keyfile", "server_name_indication", "verify",
	"application_name", "connect_timeout", "default_query_exec_mode", "pool_max_conns", "pool_max_conn_idle_time", "pool_max_conn_lifetime",
	"pool_min_conns", "search_path", "sslcert", "sslkey", "sslmode", "sslrootcert", "statement_timeout", "synchronous_commit", "target_session_attrs",
}

// plain is what the value of such a parameter consists of.
var plain = regexp.MustCompile(`^[\w.,:/%+-]*$`)

// shown is the URL without its secrets. Where it can't be told where a password
// begins and ends, since somebody has forgotten to encode it, nothing is shown.
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
