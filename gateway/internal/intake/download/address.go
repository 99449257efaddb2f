package download

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Check parses the URL of an image and rejects URLs that are never fetched. The error is a
// [*pipeline.Failure].
//
// The path and the query of the result are requested byte for byte: the bytes that HTTP
// forbids are escaped, and every escape stays as it is. The host has the one form that is
// looked up, compared and sent; its scheme's default port is left out.
func Check(raw string) (*url.URL, error) {
	raw = strings.TrimSpace(raw)
	scheme, rest, ok := cutScheme(raw)
	if !ok || scheme != "http" && scheme != "https" {
		return nil, notAllowed("Unsupported URL scheme: only http and https are allowed")
	}
	rest, ok = strings.CutPrefix(rest, "//")
	// RFC 9110, section 5.5, calls these three bytes invalid and dangerous.
	if !ok || strings.ContainsAny(raw, "\x00\r\n") {
		return nil, notAllowed("Invalid URL")
	}
	authority, target := rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority, target = rest[:end], rest[end:]
	}
	at := strings.LastIndexByte(authority, '@')
	host, err := asciiHost(authority[at+1:], scheme)
	if err != nil {
		return nil, notAllowed("Invalid URL")
	}
	if at >= 0 {
		return nil, notAllowed("Invalid URL: it must not contain a user name or password")
	}
	target, _, _ = strings.Cut(target, "#")
	u, err := url.Parse(scheme + "://" + host + Escape(target))
	if err != nil {
		// The parser's own error text contains the URL, secrets included.
		return nil, notAllowed("Invalid URL")
	}
	return u, nil
}

// redirected returns the URL to which the response of a URL redirects. A reference is resolved
// by RFC 3986, section 5.2, without changing its escapes or those of the base. A URL with a host
// of its own keeps its dot segments, like the URL of a client.
func redirected(base *url.URL, location string) (*url.URL, error) {
	location = strings.TrimSpace(location)
	if _, _, absolute := cutScheme(location); absolute {
		return Check(location)
	}
	if strings.HasPrefix(location, "//") {
		return Check(base.Scheme + ":" + location)
	}
	reference, _, _ := strings.Cut(location, "#")
	path, query, hasQuery := strings.Cut(Escape(reference), "?")
	switch {
	case path == "" && !hasQuery:
		return base, nil
	case path == "":
		path = base.EscapedPath()
	case path[0] == '/':
		path = withoutDots(path)
	default:
		folder := base.EscapedPath()
		path = withoutDots("/" + strings.TrimPrefix(folder[:strings.LastIndexByte(folder, '/')+1], "/") + path)
	}
	if hasQuery {
		path += "?" + query
	}
	return Check(base.Scheme + "://" + base.Host + path)
}

// withoutDots removes the dot segments of a path that starts with a slash (RFC 3986, section
// 5.2.4).
func withoutDots(path string) string {
	segments := strings.Split(path, "/")[1:]
	var kept []string
	for i, segment := range segments {
		if segment != "." && segment != ".." {
			kept = append(kept, segment)
			continue
		}
		if segment == ".." && len(kept) > 0 {
			kept = kept[:len(kept)-1]
		}
		if i == len(segments)-1 {
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/")
}

// cutScheme splits a URL after its scheme, which it returns in lower case. ok is false for a
// relative reference.
func cutScheme(s string) (scheme, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(s, ":")
	scheme = strings.ToLower(scheme)
	ok = ok && scheme != "" && scheme[0] >= 'a' && scheme[0] <= 'z' &&
		strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
	return scheme, rest, ok
}

// Escape returns the path or query of a URL with the bytes that HTTP forbids in it
// percent-encoded, one by one: controls, spaces, bytes outside ASCII, a percent sign that is
// not part of an escape, and the characters that RFC 3986 does not allow. Escapes stay as they
// are. Brackets stay too: RFC 3986 reserves them, but browsers and curl send them as they are.
func Escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if legal(s, i) {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}

// legal reports whether the byte at i may stay as it is in a path or query.
func legal(s string, i int) bool {
	switch c := s[i]; {
	case c == '%':
		return len(s)-i > 2 && hexDigit(s[i+1]) && hexDigit(s[i+2])
	case c <= ' ', c >= 0x7f:
		return false
	default:
		return strings.IndexByte("\"<>\\^`{|}", c) < 0
	}
}

func hexDigit(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

// lookup is the profile with which browsers look up a name (https://url.spec.whatwg.org/#idna):
// UTS 46, non-transitional, without the rules for hyphens and STD 3, so that underscores stay
// and r3---sn-x.example is valid.
var lookup = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(),
	idna.StrictDomainName(false), idna.CheckHyphens(false))

var errHost = errors.New("invalid host")

// asciiName returns the ASCII form of a host name, in lower case. A name that is ASCII already
// keeps its xn-- labels, valid or not.
func asciiName(name string) (string, error) {
	switch {
	case !utf8.ValidString(name):
		return "", errHost
	case strings.IndexFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) < 0:
		name = strings.ToLower(name)
	default:
		var err error
		if name, err = lookup.ToASCII(name); err != nil {
			return "", errHost
		}
	}
	// The mapping can produce any ASCII character: a full-width slash becomes a slash.
	if strings.Trim(name, ".") == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return "", errHost
	}
	return name, nil
}

// asciiHost returns the host and port of a URL with this scheme in their one form.
func asciiHost(host, scheme string) (string, error) {
	var port string
	if literal, ok := strings.CutPrefix(host, "["); ok {
		literal, port, ok = strings.Cut(literal, "]")
		addr, err := netip.ParseAddr(literal)
		if !ok || err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", errHost
		}
		host = "[" + addr.String() + "]"
	} else {
		if i := strings.IndexByte(host, ':'); i >= 0 {
			host, port = host[:i], host[i:]
		}
		var err error
		if host, err = asciiName(host); err != nil {
			return "", err
		}
	}
	if port == "" {
		return host, nil
	}
	n, err := strconv.ParseUint(port[1:], 10, 16)
	if port[0] != ':' || err != nil || n == 0 {
		return "", errHost
	}
	if n == 80 && scheme == "http" || n == 443 && scheme == "https" {
		return host, nil
	}
	return host + ":" + strconv.FormatUint(n, 10), nil
}
