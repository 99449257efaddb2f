package proxy

import (
	"net/netip"
	"strings"
	"testing"
)

func trusted(t testing.TB, entries ...string) (list Trusted) {
	t.Helper()
	for _, e := range entries {
		network, err := Parse(e)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, network)
	}
	return list
}

// TestRead verifies what is believed of the headers of a request, with trusted proxies at
// 10.0.0.0/8 and 2001:db8:1::1.
func TestRead(t *testing.T) {
	const inner, outer, client, forged = "10.0.0.1", "10.0.0.2", "203.0.113.7", "198.51.100.66"
	type headers = map[string][]string
	list := trusted(t, "10.0.0.0/8", "2001:db8:1::1")
	long := strings.Repeat("x", maxHeader)
	for name, c := range map[string]struct {
		peer    string
		headers headers
		client  string
		host    string
		secure  bool
	}{
		"no headers":       {inner, nil, inner, "", false},
		"one proxy":        {inner, headers{"X-Forwarded-For": {client}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"images.lan"}}, client, "images.lan", true},
		"a stranger":       {client, headers{"X-Forwarded-For": {forged}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"evil.example"}, "Forwarded": {"for=" + forged + ";host=evil.example;proto=https"}}, client, "", false},
		"forged for":       {inner, headers{"X-Forwarded-For": {forged + ", " + client}}, client, "", false},
		"forged trusted":   {inner, headers{"X-Forwarded-For": {"10.9.9.9, " + client}}, client, "", false},
		"forged on a line": {inner, headers{"X-Forwarded-For": {forged, client}}, client, "", false},
		"two proxies":      {inner, headers{"X-Forwarded-For": {client + ", " + outer}, "X-Forwarded-Host": {"images.lan, inner.lan"}, "X-Forwarded-Proto": {"https, http"}}, client, "images.lan", true},
		"forged behind two": {inner, headers{
			"X-Forwarded-For": {forged + "," + client + "," + outer}, "X-Forwarded-Host": {"evil.example,images.lan,inner.lan"}, "X-Forwarded-Proto": {"https,http,https"},
		}, client, "images.lan", false},
		"replaced by the inner":  {inner, headers{"X-Forwarded-For": {client + ", " + outer}, "X-Forwarded-Host": {"images.lan"}, "X-Forwarded-Proto": {"https"}}, client, "images.lan", true},
		"all trusted":            {inner, headers{"X-Forwarded-For": {"10.0.0.3, " + outer}}, "10.0.0.3", "", false},
		"unknown client":         {inner, headers{"X-Forwarded-For": {forged + ", unknown"}}, inner, "", false},
		"unknown before a proxy": {inner, headers{"X-Forwarded-For": {"nonsense, " + outer}}, outer, "", false},
		"empty":                  {inner, headers{"X-Forwarded-For": {""}}, inner, "", false},
		"with ports":             {inner, headers{"X-Forwarded-For": {"203.0.113.7:4711"}}, client, "", false},
		"IPv6":                   {"2001:db8:1::1", headers{"X-Forwarded-For": {"2001:DB8::7"}}, "2001:db8::7", "", false},
		"IPv6 with brackets":     {inner, headers{"X-Forwarded-For": {"[2001:db8::7]"}}, "2001:db8::7", "", false},
		"IPv6 with a port":       {inner, headers{"X-Forwarded-For": {"[2001:db8::7]:4711"}}, "2001:db8::7", "", false},
		"IPv4 in IPv6":           {"::ffff:10.0.0.1", headers{"X-Forwarded-For": {"::ffff:203.0.113.7"}}, client, "", false},
		"WebSocket":              {inner, headers{"X-Forwarded-Proto": {"wss"}}, inner, "", true},
		"upper case":             {inner, headers{"X-Forwarded-Proto": {"HTTPS"}}, inner, "", true},
		"no host":                {inner, headers{"X-Forwarded-Host": {"a b/<c>"}}, inner, "", false},
		"long host":              {inner, headers{"X-Forwarded-Host": {strings.Repeat("x", 256)}}, inner, "", false},
		"too long":               {inner, headers{"X-Forwarded-For": {long + "," + client}, "X-Forwarded-Host": {"images.lan"}}, inner, "images.lan", false},

		"Forwarded":           {inner, headers{"Forwarded": {`for=203.0.113.7;host=images.lan;proto=https;by=10.0.0.1`}}, client, "images.lan", true},
		"Forwarded quoted":    {inner, headers{"Forwarded": {`For="[2001:db8::7]:4711";HOST="images.lan:8443"; Proto = HTTPS`}}, "2001:db8::7", "images.lan:8443", true},
		"Forwarded escaped":   {inner, headers{"Forwarded": {`for="203.0.113\.7";host="images\.lan"`}}, client, "images.lan", false},
		"Forwarded separator": {inner, headers{"Forwarded": {`for=203.0.113.7;ext="a,b;for=198.51.100.66"`}}, client, "", false},
		"Forwarded twice":     {inner, headers{"Forwarded": {`for=203.0.113.7;host=images.lan;proto=https, for=10.0.0.2;host=inner.lan;proto=http`}}, client, "images.lan", true},
		"Forwarded on lines":  {inner, headers{"Forwarded": {`for=203.0.113.7;host=images.lan`, `for=10.0.0.2`}}, client, "images.lan", false},
		"Forwarded forged":    {inner, headers{"Forwarded": {`for=198.51.100.66;host=evil.example;proto=https, for=203.0.113.7;host=images.lan`}}, client, "images.lan", false},
		"Forwarded partly":    {inner, headers{"Forwarded": {`for=203.0.113.7, for=10.0.0.2;host=images.lan;proto=https`}}, client, "images.lan", true},
		"Forwarded unknown":   {inner, headers{"Forwarded": {`for=198.51.100.66, for=unknown;host=images.lan`}}, inner, "images.lan", false},
		"Forwarded hidden":    {inner, headers{"Forwarded": {`for=_secret, for=10.0.0.2`}}, outer, "", false},
		"Forwarded long":      {inner, headers{"Forwarded": {"for=203.0.113.7;x=" + long}}, inner, "", false},

		// A client may send Forwarded through a proxy that writes the other headers.
		"both":                  {inner, headers{"X-Forwarded-For": {client}, "Forwarded": {"for=198.51.100.66;host=evil.example;proto=https"}}, client, "", false},
		"both, only the scheme": {inner, headers{"X-Forwarded-Proto": {"http"}, "Forwarded": {"for=198.51.100.66;host=evil.example;proto=https"}}, inner, "", false},
	} {
		got := list.Read(netip.MustParseAddr(c.peer), c.headers)
		if got.Client.String() != c.client || got.Host != c.host || got.Secure != c.secure {
			t.Errorf("%s: got %+v, want %s, %q and secure %t", name, got, c.client, c.host, c.secure)
		}
	}
	for _, malformed := range []string{
		"for", "for=", "=203.0.113.7", `for="203.0.113.7`, `for="203.0.113.7\`, `for=203.0.113.7 host=x`, "for=203.0.113.7;for=203.0.113.8", `for="a"b`, "fo r=203.0.113.7", ";;", "for=203.0.113.7;host=\"x\"y",
	} {
		if got := list.Read(netip.MustParseAddr(inner), headers{"Forwarded": {malformed}}); got.Client.String() != inner || got.Host != "" || got.Secure {
			t.Errorf("%q: got %+v, want the proxy itself", malformed, got)
		}
	}
	if got := list.Read(netip.Addr{}, headers{"X-Forwarded-For": {client}}); got.Client.IsValid() {
		t.Errorf("a peer without an address: got %+v", got)
	}
}

// TestParse verifies which entries name proxies.
func TestParse(t *testing.T) {
	for entry, want := range map[string]string{
		"10.0.0.1": "10.0.0.1/32", " 10.0.0.0/8 ": "10.0.0.0/8", "10.1.2.3/8": "10.0.0.0/8", "::1": "::1/128", "2001:db8::/32": "2001:db8::/32", "::ffff:10.0.0.1": "10.0.0.1/32",
	} {
		if got, err := Parse(entry); err != nil || got.String() != want {
			t.Errorf("%q: got %v, %v, want %s", entry, got, err, want)
		}
	}
	for _, entry := range []string{"", "proxy.lan", "10.0.0.0/33", "10.0.0", "10.0.0.1:80", "fe80::1%eth0", "*", "unix", "[::1]", "::ffff:10.0.0.0/104"} {
		if got, err := Parse(entry); err == nil {
			t.Errorf("%q: got %v, want an error", entry, got)
		}
	}
}

// FuzzRead verifies that a client cannot choose its address, whatever it sends in front of
// what the proxy appends.
func FuzzRead(f *testing.F) {
	f.Add("198.51.100.66", `for=198.51.100.66`)
	f.Add("10.0.0.2", `for="`)
	f.Add("", `for="a\`)
	list := trusted(f, "10.0.0.0/8")
	peer, client := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("203.0.113.7")
	f.Fuzz(func(t *testing.T, xff, forwarded string) {
		got := list.Read(peer, map[string][]string{"X-Forwarded-For": {xff, client.String()}, "Forwarded": {forwarded}})
		if got.Client != client && len(xff)+1+len(client.String()) <= maxHeader {
			t.Errorf("X-Forwarded-For %q: got %+v", xff, got)
		}
		// The proxy appends to a header that it cannot read either. A malformed one is not believed at all.
		got = list.Read(peer, map[string][]string{"Forwarded": {forwarded, "for=203.0.113.7"}})
		if got.Client != client && got.Client != peer {
			t.Errorf("Forwarded %q: got %+v", forwarded, got)
		}
	})
}
