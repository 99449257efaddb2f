package sqlstore

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// maxConns is the maximum number of connections of a gateway, unless its URL sets
// pool_max_conns.
const maxConns = 16

// form is the form of a URL. Errors contain it instead of the URL, which contains a
// password.
const form = "postgres://user:password@host:5432/database" //nolint:gosec // placeholders, not credentials

// CheckPostgres returns an error if the URL of a database is invalid, without connecting to it.
// The error never contains the password.
func CheckPostgres(address string) error {
	_, err := parse(address)
	return err
}

// settings are set in every session, unless the URL sets them.
var settings = map[string]string{
	"application_name": "imagebatch",
	// PostgreSQL's own timeouts, shorter than ours, so that the server gives up first.
	"statement_timeout":                   milliseconds(8 * time.Second),
	"lock_timeout":                        milliseconds(6 * time.Second),
	"idle_in_transaction_session_timeout": milliseconds(12 * time.Second),
	// JIT compilation does not pay off for short statements on few rows.
	"jit": "off",
	// The plans do not depend on the arguments, as a test verifies. With many jobs, PostgreSQL would otherwise plan a page
	// of the list each time, which takes longer than reading it.
	"plan_cache_mode": "force_generic_plan",
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func parse(address string) (*pgxpool.Config, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Opaque != "" || misplaced(u) {
		// The errors of the parsers quote parts of the URL.
		return nil, fmt.Errorf("want %s, with the special characters of the password percent-encoded", form)
	}
	c, err := pgxpool.ParseConfig(address)
	if err != nil {
		text := "invalid parameters"
		if cause := errors.Unwrap(err); cause != nil {
			text = cause.Error()
		}
		for _, secret := range secrets(u) {
			text = strings.ReplaceAll(text, secret, "xxxxx")
		}
		return nil, fmt.Errorf("want %s?parameters: %s", form, text)
	}
	if !u.Query().Has("pool_max_conns") {
		c.MaxConns = maxConns
	}
	params := c.ConnConfig.RuntimeParams
	for name, value := range settings {
		if _, set := params[name]; !set {
			params[name] = value
		}
	}
	switch level := params["synchronous_commit"]; level {
	case "":
		params["synchronous_commit"] = "on"
	case "on", "remote_apply":
	default:
		return nil, fmt.Errorf("synchronous_commit=%s would lose jobs that were accepted: want on or remote_apply", level)
	}
	if c.ConnConfig.ConnectTimeout == 0 || c.ConnConfig.ConnectTimeout > waitTime {
		c.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	return c, nil
}

// misplaced reports whether the password of a URL has ended early, at an unencoded special
// character, so that the rest of it is in another part of the URL.
func misplaced(u *url.URL) bool {
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		if pair != "" && !parameter.MatchString(pair) {
			return true
		}
	}
	return u.Fragment != "" || strings.Contains(u.Path, "@")
}

// parameter matches a name and a value in which special characters are encoded.
var parameter = regexp.MustCompile(`^[\w.]+=([^ @?#%\x00-\x1f]|%[0-9A-Fa-f]{2})*$`)

// secrets returns the passwords in a URL, both as written and decoded.
func secrets(u *url.URL) (list []string) {
	if password, set := u.User.Password(); set {
		_, written, _ := strings.Cut(u.User.String(), ":")
		list = append(list, password, written)
	}
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		name, written, _ := strings.Cut(pair, "=")
		if strings.Contains(name, "pass") {
			list = append(list, written)
			if meant, err := url.QueryUnescape(written); err == nil {
				list = append(list, meant)
			}
		}
	}
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}
