package download

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

// hosts lists the only hosts that images are fetched from. An empty list allows all hosts.
type hosts []string // in the form of plain

func newHosts(patterns []string) hosts {
	var list hosts
	for _, p := range patterns {
		list = append(list, plain(p))
	}
	return list
}

// plain returns the form of an entry in which it is compared: that of the host of a checked
// URL, without a trailing dot. An invalid entry stays as it is and matches no host.
func plain(entry string) string {
	if addr, err := netip.ParseAddr(entry); err == nil {
		return addr.String()
	}
	name, below := strings.CutPrefix(entry, "*.")
	name, err := asciiName(name)
	switch {
	case err != nil:
		return entry
	case below:
		name = "*." + name
	}
	return strings.TrimSuffix(name, ".")
}

// allow reports whether the host of a checked URL matches an entry: exactly, or as a subdomain
// in a pattern such as *.example.org, which does not match example.org itself.
func (list hosts) allow(host string) bool {
	host = strings.TrimSuffix(host, ".")
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
	u, err := Check(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// CheckHost returns an error if pattern is not a valid entry of [Config].AllowHosts.
func CheckHost(pattern string) error {
	name := plain(pattern)
	if _, err := netip.ParseAddr(name); err == nil {
		return nil
	}
	for label := range strings.SplitSeq(strings.TrimPrefix(name, "*."), ".") {
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
	return u, c.allowed(u)
}

// allowed returns an error if the list of hosts does not contain the host of a checked URL.
func (c *Client) allowed(u *url.URL) error {
	if !c.hosts.allow(u.Hostname()) {
		return notAllowed("URL not allowed: images are not fetched from this host")
	}
	return nil
}
