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

// maxConns is how many connections a gateway has at most, unless its URL says
// otherwise by pool_max_conns.
const maxConns = 16

// form is what a URL looks like. It stands in errors instead of the URL, which
// holds a password.
const form = "postgres://user:password@host:5432/database" //nolint:gosec // The words stand for what they name.

// CheckPostgres reports what is wrong with the URL of a database, without connecting to it.
// The error never contains the password.
func CheckPostgres(address string) error {
	_, err := parse(address)
	return err
}

// settings are set in every session, unless the URL sets them.
var settings = map[string]string{
	"application_name": "imagebatch",
	// PostgreSQL's own bounds, below ours, so that it lets go before we do.
	"statement_timeout":                   milliseconds(8 * time.Second),
	"lock_timeout":                        milliseconds(6 * time.Second),
	"idle_in_transaction_session_timeout": milliseconds(12 * time.Second),
	// Plans of short statements on few rows win nothing by being compiled.
	"jit": "off",
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func parse(address string) (*pgxpool.Config, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Opaque != "" || misplaced(u) {
		// What the parsers say of a URL quotes parts of it.
		return nil, fmt.Errorf("want %s, with the special characters of the password percent-encoded", form)
	}
	c, err := pgxpool.ParseConfig(address)
	if err != nil {
		text := "not understood"
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

// misplaced tells of a URL whose password has ended where nobody meant it to, so that
// the rest of it stands in another place.
func misplaced(u *url.URL) bool {
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		if pair != "" && !parameter.MatchString(pair) {
			return true
		}
	}
	return u.Fragment != "" || strings.Contains(u.Path, "@")
}

// parameter is one that has its name, and its value without what must be encoded.
var parameter = regexp.MustCompile(`^[\w.]+=([^ @?#%\x00-\x1f]|%[0-9A-Fa-f]{2})*$`)

// secrets are the passwords in a URL, each as it stands there and as it is meant.
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
