// Package proxy reads what trusted proxies report about the request of a client: its
// address, the host that it named and whether it used https.
//
// Only a request that a trusted proxy sent is believed. The headers are lists to which
// each proxy appends. They are read from the end, where the nearest proxy wrote, and only
// as far as the addresses are those of trusted proxies: what is left of these may come
// from the client.
//
// X-Forwarded-For, -Proto and -Host are read if the request has any of them, and
// otherwise Forwarded (RFC 7239). Most proxies write the former and pass on the latter as
// the client sent it. A proxy that writes only Forwarded must remove the former.
package proxy

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// maxHeader is the maximum length of one of the headers, in bytes. A longer header is
// ignored.
const maxHeader = 4096

// Trusted are the networks of the trusted proxies.
type Trusted []netip.Prefix

// Parse reads an address or a network in CIDR form.
func Parse(entry string) (netip.Prefix, error) {
	text := strings.TrimSpace(entry)
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	network, err := netip.ParsePrefix(text)
	if err != nil || network.Addr().Is4In6() {
		return netip.Prefix{}, errors.New("want an address such as 10.0.0.1, or a network in CIDR form such as 10.0.0.0/8")
	}
	return network.Masked(), nil
}

func (t Trusted) contains(addr netip.Addr) bool {
	for _, network := range t {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// Request is what is known about the request of a client.
type Request struct {
	Client netip.Addr // the peer if no trusted proxy reports another; invalid if unknown
	Host   string     // host that the client named; empty: as in the Host header
	Secure bool       // a trusted proxy reports that the client used https
}

// Read returns what the headers report about a request that peer sent. The names of
// the headers are in canonical form, as in http.Header.
func (t Trusted) Read(peer netip.Addr, headers map[string][]string) Request {
	peer = peer.Unmap().WithZone("")
	r := Request{Client: peer}
	if !t.contains(peer) {
		return r
	}
	addresses, hosts, schemes := list(headers, "X-Forwarded-For"), list(headers, "X-Forwarded-Host"), list(headers, "X-Forwarded-Proto")
	if len(addresses)+len(hosts)+len(schemes) == 0 {
		return t.forwarded(r, elements(strings.Join(headers["Forwarded"], ",")))
	}
	// depth counts the entries that trusted proxies wrote.
	depth := 0
	for _, node := range slices.Backward(addresses) {
		depth++
		addr, ok := address(node)
		if !ok {
			break
		}
		if r.Client = addr; !t.contains(addr) {
			break
		}
	}
	depth = max(depth, 1)
	// A proxy that replaces a header leaves fewer entries than one that appends to it.
	at := func(list []string) string {
		if len(list) == 0 {
			return ""
		}
		return list[max(0, len(list)-depth)]
	}
	r.report(at(hosts), at(schemes))
	return r
}

// forwarded reads the elements of Forwarded.
func (t Trusted) forwarded(r Request, list []map[string]string) Request {
	host, scheme := "", ""
	for _, element := range slices.Backward(list) {
		host, scheme = cmp.Or(element["host"], host), cmp.Or(element["proto"], scheme)
		addr, ok := address(element["for"])
		if !ok {
			break
		}
		if r.Client = addr; !t.contains(addr) {
			break
		}
	}
	r.report(host, scheme)
	return r
}

func (r *Request) report(host, scheme string) {
	if len(host) <= 255 && httpguts.ValidHostHeader(host) {
		r.Host = host
	}
	// Traefik reports the scheme of a WebSocket.
	r.Secure = strings.EqualFold(scheme, "https") || strings.EqualFold(scheme, "wss")
}

// list returns the entries of a header that is a list.
func list(headers map[string][]string, name string) (entries []string) {
	text := strings.Join(headers[name], ",")
	if text == "" || len(text) > maxHeader {
		return nil
	}
	for entry := range strings.SplitSeq(text, ",") {
		entries = append(entries, strings.TrimSpace(entry))
	}
	return entries
}

// address reads the address of a node, with or without a port. It reports false for a
// node that hides its address (RFC 7239, section 6).
func address(node string) (netip.Addr, bool) {
	if both, err := netip.ParseAddrPort(node); err == nil {
		return both.Addr().Unmap().WithZone(""), true
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(node, "["), "]"))
	return addr.Unmap().WithZone(""), err == nil
}

// elements reads the value of Forwarded: elements separated by commas, each of pairs
// separated by semicolons, whose names have no case. It returns nil for a value that is
// malformed or too long, in which the last element could not be relied on.
func elements(text string) (list []map[string]string) {
	if len(text) > maxHeader {
		return nil
	}
	element := map[string]string{}
	for text != "" {
		name, rest, ok := strings.Cut(text, "=")
		if !ok && strings.TrimSpace(text) == "" {
			break
		}
		name = strings.ToLower(strings.TrimSpace(name))
		value, rest, valid := pairValue(rest)
		if _, twice := element[name]; !ok || !valid || twice || !httpguts.ValidHeaderFieldName(name) {
			return nil
		}
		element[name] = value
		switch {
		case rest == "":
			text = ""
		case rest[0] == ';':
			text = rest[1:]
		case rest[0] == ',':
			list, element, text = append(list, element), map[string]string{}, rest[1:]
		default:
			return nil
		}
	}
	if len(element) > 0 {
		list = append(list, element)
	}
	return list
}

// pairValue reads a value, quoted or not, and returns the text from its separator on.
func pairValue(text string) (value, rest string, ok bool) {
	text = strings.TrimLeft(text, " \t")
	quoted, isQuoted := strings.CutPrefix(text, `"`)
	if !isQuoted {
		end := strings.IndexAny(text, ";,")
		if end < 0 {
			end = len(text)
		}
		value = strings.TrimSpace(text[:end])
		return value, text[end:], value != "" && !strings.ContainsAny(value, "\" \t")
	}
	var b strings.Builder
	for i := 0; i < len(quoted); i++ {
		switch quoted[i] {
		case '"':
			return b.String(), strings.TrimLeft(quoted[i+1:], " \t"), true
		case '\\':
			if i++; i == len(quoted) {
				return "", "", false
			}
		}
		b.WriteByte(quoted[i])
	}
	return "", "", false
}
