// Package origin decides by the Origin header of a request (RFC 6454) whether the page
// that sent it may use the gateway.
//
// Origins are compared in the form in which browsers send them: in lower case, without
// the default port, an IPv6 address in its short form, and a name with non-ASCII letters
// in its xn-- form (UTS 46, by golang.org/x/net/idna). A final dot of a name does not
// count. The origin "null" is never allowed, because it has no author: any page can get
// it.
package origin

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// origin is an origin in its normal form.
type origin struct {
	scheme string
	host   string // an IPv6 address has brackets
	port   int    // 0: the scheme has no default and the origin names none
}

// Pattern is an entry of the list of allowed origins: one origin, or the origins of all
// names below a domain.
type Pattern struct {
	origin       // without the wildcard
	below   bool // names below the host, at any depth, but not the host itself
	written string
}

// String returns the entry as the operator wrote it.
func (p Pattern) String() string { return p.written }

// List is the list of allowed origins.
type List []Pattern

// Allows reports whether the list contains the value of an Origin header.
func (l List) Allows(header string) bool {
	if len(l) == 0 {
		return false
	}
	o, err := parse(header, false)
	if err != nil {
		return false
	}
	for _, p := range l {
		if p.below && p.scheme == o.scheme && p.port == o.port && strings.HasSuffix(o.host, "."+p.host) || !p.below && p.origin == o.origin {
			return true
		}
	}
	return false
}

// Own reports whether an Origin header names the page that the server itself serves under
// host, the name with which the client addressed it. A host without a port stands for the
// default port of the origin's scheme, because the server need not know whether a proxy
// in front of it speaks TLS. If secure is set, the client is known to have used https.
func Own(header, host string, secure bool) bool {
	o, err := parse(header, false)
	if err != nil || o.scheme != "http" && o.scheme != "https" {
		return false
	}
	name, port, err := splitPort(host)
	if err != nil {
		return false
	}
	if name, err = domain(name); err != nil {
		return false
	}
	switch {
	case port == 0 && secure:
		port = defaultPorts["https"]
	case port == 0:
		port = defaultPorts[o.scheme]
	}
	return o.host == name && o.port == port
}

var defaultPorts = map[string]int{"http": 80, "https": 443}

// errNull explains why the origin of files and sandboxed frames cannot be allowed.
var errNull = errors.New("browsers send the origin null for files, sandboxed frames and others, so that any page can have it: serve the page over http or https")

// Parse reads an entry of the list of allowed origins: scheme://host or scheme://host:port,
// with http, https or the scheme of an app shell such as capacitor. A host of http and
// https may start with "*." for all names below a domain.
func Parse(entry string) (Pattern, error) {
	text := strings.TrimSpace(entry)
	switch {
	case text == "":
		return Pattern{}, errors.New("is empty: remove the comma before or after it")
	case text == "*":
		return Pattern{}, errors.New("allows every page of the web: name the origins, or all below a domain such as https://*.example.com")
	case strings.EqualFold(text, "null"):
		return Pattern{}, errNull
	case strings.ContainsAny(text, " \t;"):
		return Pattern{}, errors.New("want one origin: separate several by commas")
	}
	p, err := parse(text, true)
	p.written = entry
	return p, err
}

// parse reads an origin, or a pattern if wildcards are allowed.
func parse(text string, wildcards bool) (p Pattern, err error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return p, missingScheme(text)
	}
	if p.scheme = strings.ToLower(scheme); !validScheme(p.scheme) {
		return p, fmt.Errorf("%q is not a scheme: want https://host or http://host", scheme)
	}
	switch p.scheme {
	case "file":
		return p, errNull
	case "ws", "wss":
		return p, fmt.Errorf("is an address of a WebSocket: want the origin of the page that opens it, %s://%s", map[string]string{"ws": "http", "wss": "https"}[p.scheme], rest)
	}
	authority := rest
	if i := strings.IndexAny(rest, "/?#\\"); i >= 0 {
		authority = rest[:i]
		if rest[i:] != "/" {
			return p, fmt.Errorf("has a path, and an origin has none: want %s://%s", p.scheme, authority)
		}
	}
	if strings.Contains(authority, "@") {
		return p, errors.New("has a user name, and an origin has none")
	}
	host, port, err := splitPort(authority)
	if err != nil {
		return p, err
	}
	if p.port = port; port == 0 {
		p.port = defaultPorts[p.scheme]
	}
	if defaultPorts[p.scheme] == 0 {
		p.host, err = appHost(host)
		return p, err
	}
	parent, below := strings.CutPrefix(host, "*.")
	if below && wildcards {
		p.below, host = true, parent
	}
	if p.host, err = domain(host); err == nil && p.below {
		err = checkParent(p.host)
	}
	return p, err
}

// missingScheme returns the error for an entry without "://".
func missingScheme(text string) error {
	for _, scheme := range []string{"https:", "http:"} {
		if len(text) > len(scheme) && strings.EqualFold(text[:len(scheme)], scheme) {
			return fmt.Errorf("want two slashes after the scheme: %s//%s", scheme, strings.TrimLeft(text[len(scheme):], "/"))
		}
	}
	if strings.EqualFold(text, "file:") {
		return errNull
	}
	host := strings.Trim(text, "/")
	return fmt.Errorf("has no scheme: want https://%s or http://%[1]s", host)
}

// validScheme reports whether s is the scheme of a URL (RFC 3986, section 3.1), in lower
// case.
func validScheme(s string) bool {
	return s != "" && s[0] >= 'a' && s[0] <= 'z' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}

// splitPort splits host:port. The port is 0 if there is none.
func splitPort(authority string) (host string, port int, err error) {
	host = authority
	colon := strings.LastIndexByte(authority, ':')
	if colon < 0 || strings.HasSuffix(authority, "]") {
		return host, 0, nil
	}
	host, digits := authority[:colon], authority[colon+1:]
	if strings.HasPrefix(host, "[") && !strings.HasSuffix(host, "]") {
		return "", 0, fmt.Errorf("%q is not an IPv6 address", authority)
	}
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		return "", 0, fmt.Errorf("%q is not a host: an IPv6 address needs brackets, such as https://[::1]:8443", authority)
	}
	if port, err = strconv.Atoi(digits); err != nil || port < 1 || port > 65535 || digits[0] == '+' {
		return "", 0, fmt.Errorf("%q is not a port: want 1 to 65535", digits)
	}
	return host, port, nil
}

// names maps the names of hosts as browsers do.
var names = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// domain returns the normal form of a host of http or https.
func domain(host string) (string, error) {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !addr.Is6() || addr.Zone() != "" || !strings.HasSuffix(inner, "]") {
			return "", fmt.Errorf("%q is not an IPv6 address", host)
		}
		return "[" + addr.String() + "]", nil
	}
	name := strings.ToLower(host)
	if strings.ContainsFunc(host, func(r rune) bool { return r > 127 }) {
		mapped, err := names.ToASCII(host)
		if err != nil {
			return "", fmt.Errorf("%q is not the name of a host", host)
		}
		name = mapped
	}
	name = strings.TrimSuffix(name, ".")
	if name == "" {
		return "", errors.New("names no host: want https://host or https://host:port")
	}
	if strings.Contains(name, "*") {
		return "", fmt.Errorf("%q has a wildcard that is not its first label: want *.example.com for all names below example.com", host)
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", fmt.Errorf("%q is not the name of a host", host)
		}
		last = label
	}
	// Browsers read a name that ends in a number as an IPv4 address.
	if hex, ok := strings.CutPrefix(last, "0x"); strings.Trim(last, "0123456789") == "" || ok && strings.Trim(hex, "0123456789abcdef") == "" {
		if addr, err := netip.ParseAddr(name); err != nil || !addr.Is4() {
			return "", fmt.Errorf("%q is not an IPv4 address", host)
		}
	}
	return name, nil
}

// appHost returns the normal form of a host of an app shell's scheme. It is a name or an
// ID that the shell chooses: localhost, the ID of an extension, a dot.
func appHost(host string) (string, error) {
	name := strings.ToLower(host)
	switch {
	case name == "":
		return "", errors.New("names no host: want the whole origin, such as capacitor://localhost or chrome-extension://the-extension's-id")
	case strings.Contains(name, "*"):
		return "", errors.New("has a wildcard, which only http and https may have: want the whole origin, such as chrome-extension://the-extension's-id")
	case strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-._~") != "":
		return "", fmt.Errorf("%q is not the name of a host", host)
	}
	return name, nil
}

// checkParent rejects a domain below which anyone can register a name.
func checkParent(name string) error {
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return errors.New("has a wildcard before an address: want a name such as *.example.com")
	}
	// A suffix that is not on the list, such as lan, is a private name.
	if suffix, icann := publicsuffix.PublicSuffix(name); suffix == name && (icann || strings.Contains(name, ".")) {
		return fmt.Errorf("allows pages of others: anyone can have a name below %s", name)
	}
	return nil
}
