package download

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

// hosts lists the only hosts that images are fetched from. An empty list allows all hosts.
type hosts []string // lower case, without a trailing dot

func newHosts(patterns []string) hosts {
	var list hosts
	for _, p := range patterns {
		list = append(list, plain(p))
	}
	return list
}

// plain returns the normalized form of a host for comparison. Names are compared in their
// DNS form: a name with non-ASCII letters matches no entry, whatever IDNA would map it
// to.
func plain(host string) string { return strings.TrimSuffix(strings.ToLower(host), ".") }

// allow reports whether the host matches an entry: exactly, or as a subdomain in a pattern
// such as *.example.org, which does not match example.org itself.
func (list hosts) allow(host string) bool {
	host = plain(host)
	for _, p := range list {
		parent, below := strings.CutPrefix(p, "*")
		if below && len(host) > len(parent) && strings.HasSuffix(host, parent) || host == p {
			return true
		}
	}
	return len(list) == 0
}

// Host returns the host of a URL, the only part that may be logged: the parts before and
// after it can contain credentials or other secrets. It returns "" for an invalid URL.
func Host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// CheckHost returns an error if pattern is not a valid entry of [Config].AllowHosts.
func CheckHost(pattern string) error {
	name := plain(strings.TrimPrefix(pattern, "*."))
	if _, err := netip.ParseAddr(name); err == nil && name == plain(pattern) {
		return nil
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return errors.New("must be a name such as images.example.org, a pattern such as *.example.org, or an IP address, without scheme or port")
		}
	}
	return nil
}

// Check parses the URL of an image and rejects URLs that this client never fetches.
// The error is a [*pipeline.Failure].
func (c *Client) Check(raw string) (*url.URL, error) {
	u, err := Check(raw)
	if err != nil {
		return nil, err
	}
	return u, c.check(u)
}

func (c *Client) check(u *url.URL) error {
	if err := check(u); err != nil {
		return err
	}
	if !c.hosts.allow(u.Hostname()) {
		return notAllowed("URL not allowed: images are not fetched from this host")
	}
	return nil
}
