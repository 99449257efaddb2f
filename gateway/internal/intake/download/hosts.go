package download

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

// hosts is a list of the only hosts that images are fetched from; empty, it has
// them all.
type hosts []string // lower case, without a dot at the end

func newHosts(patterns []string) hosts {
	var list hosts
	for _, p := range patterns {
		list = append(list, plain(p))
	}
	return list
}

// plain is a host as it is compared. Names are compared in the form in which the
// domain name system has them: one with other letters than ASCII stands on no list,
// whatever a mapping might make of it.
func plain(host string) string { return strings.TrimSuffix(strings.ToLower(host), ".") }

// allow reports whether the host is on the list: as it is, or below the name of a
// pattern such as *.example.org, which does not have that name itself.
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

// Host is the host of an address, which is all of it that may be told: a name and a
// password can stand before it, and anything behind it. It is empty for what is no
// address.
func Host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// CheckHost tells what is wrong with an entry of [Config].AllowHosts.
func CheckHost(pattern string) error {
	name := plain(strings.TrimPrefix(pattern, "*."))
	if _, err := netip.ParseAddr(name); err == nil && name == plain(pattern) {
		return nil
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return errors.New("want a name such as images.example.org, all below one as *.example.org, or an address, without scheme and port")
		}
	}
	return nil
}

// Check parses the address of an image and refuses what this client never fetches.
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
