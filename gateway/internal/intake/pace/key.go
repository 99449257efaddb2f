package pace

import (
	"net"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Key returns the key of a URL's host: its registrable name according to the Public Suffix
// List, because the names below it usually share servers and limits, or its address. A port
// other than the default of http or https is part of the key.
func Key(u *url.URL) string {
	name := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if addr, err := netip.ParseAddr(name); err == nil {
		name = addr.Unmap().String()
	} else if registrable, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		name = registrable
	}
	return withPort(name, u.Port())
}

func withPort(name, port string) string {
	switch port {
	case "", "80", "443":
		return name
	}
	return net.JoinHostPort(name, port)
}
