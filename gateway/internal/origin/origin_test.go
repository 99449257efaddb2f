package origin

import (
	"regexp"
	"strings"
	"testing"
)

// TestList verifies which Origin headers an entry of the list allows.
func TestList(t *testing.T) {
	for entry, c := range map[string]struct{ allowed, refused []string }{
		"https://app.example.com": {
			[]string{"https://app.example.com", "HTTPS://APP.example.com", "https://app.example.com:443", "https://app.example.com."},
			[]string{
				"http://app.example.com", "https://app.example.com:8443", "https://app.example.com:80", "https://x.app.example.com", "https://example.com",
				"https://app.example.com.evil.example", "https://evil-app.example.com", "null", "", "app.example.com", "https://app.example.com@evil.example",
				"https://app.example.com/x", "https://app.example.com https://evil.example", "https://app.example.com, https://evil.example",
			},
		},
		"https://app.example.com:443/": {[]string{"https://app.example.com"}, []string{"https://app.example.com:444", "http://app.example.com:443"}},
		"http://app:80":                {[]string{"http://app", "http://app:80"}, []string{"https://app", "http://app:8080"}},
		"http://localhost:3000":        {[]string{"http://localhost:3000"}, []string{"http://localhost", "https://localhost:3000", "http://127.0.0.1:3000"}},
		" https://Example.COM ":        {[]string{"https://example.com"}, nil},
		"https://*.example.com": {
			[]string{"https://app.example.com", "https://a.b.c.example.com", "https://APP.Example.com:443", "https://xn--bcher-kva.example.com"},
			[]string{
				"https://example.com", "http://app.example.com", "https://app.example.com:8443", "https://evilexample.com", "https://.example.com",
				"https://app.example.com.evil.example", "https://*.example.com", "https://app.example.comx",
			},
		},
		"http://*.lan:8080":             {[]string{"http://images.lan:8080"}, []string{"http://images.lan", "http://lan:8080"}},
		"http://*.localhost:3000":       {[]string{"http://app.localhost:3000"}, []string{"http://localhost:3000"}},
		"https://bücher.example":        {[]string{"https://xn--bcher-kva.example"}, []string{"https://bucher.example"}},
		"https://BÜCHER.example":        {[]string{"https://xn--bcher-kva.example"}, nil},
		"https://xn--BCHER-kva.example": {[]string{"https://xn--bcher-kva.example"}, nil},
		"https://straße.example":        {[]string{"https://xn--strae-oqa.example"}, []string{"https://strasse.example"}},
		"https://例え。example":            {[]string{"https://xn--r8jz45g.example"}, nil},
		"https://*.bücher.example":      {[]string{"https://app.xn--bcher-kva.example"}, nil},
		"https://my_app.example.com":    {[]string{"https://my_app.example.com"}, nil},
		"http://[::1]:3000":             {[]string{"http://[::1]:3000", "http://[0:0:0:0:0:0:0:1]:3000"}, []string{"http://[::1]", "http://[::2]:3000"}},
		"https://[2001:DB8:0::5]":       {[]string{"https://[2001:db8::5]"}, nil},
		"http://127.0.0.1:8080":         {[]string{"http://127.0.0.1:8080"}, []string{"http://127.0.0.1"}},
		"capacitor://localhost":         {[]string{"capacitor://localhost", "Capacitor://LOCALHOST"}, []string{"http://localhost", "ionic://localhost", "capacitor://localhost:80"}},
		"ionic://localhost":             {[]string{"ionic://localhost"}, nil},
		"tauri://localhost":             {[]string{"tauri://localhost"}, []string{"https://tauri.localhost"}},
		"app://.":                       {[]string{"app://."}, []string{"app://-"}},
		"app://obsidian.md":             {[]string{"app://obsidian.md"}, nil},
		"chrome-extension://abcdefghijklmnopabcdefghijklmnop": {
			[]string{"chrome-extension://abcdefghijklmnopabcdefghijklmnop"}, []string{"chrome-extension://ponmlkjihgfedcbaponmlkjihgfedcba", "chrome-extension://"},
		},
		"moz-extension://1f0e8a3c-0000-4000-8000-000000000000": {[]string{"moz-extension://1f0e8a3c-0000-4000-8000-000000000000"}, nil},
	} {
		p, err := Parse(entry)
		if err != nil {
			t.Errorf("%s: %v", entry, err)
			continue
		}
		for _, header := range c.allowed {
			if !(List{p}).Allows(header) {
				t.Errorf("%s does not allow %q", entry, header)
			}
		}
		for _, header := range c.refused {
			if (List{p}).Allows(header) {
				t.Errorf("%s allows %q", entry, header)
			}
		}
	}
	if List(nil).Allows("https://app.example.com") {
		t.Error("an empty list allows an origin")
	}
}

// TestParseErrors verifies that each mistake in an entry has a text of its own that shows
// what to write instead.
func TestParseErrors(t *testing.T) {
	for entry, want := range map[string]string{
		"":                              "is empty",
		"*":                             "allows every page of the web",
		"null":                          "origin null for files",
		"file://":                       "origin null for files",
		"file:///index.html":            "origin null for files",
		"FILE:":                         "origin null for files",
		"app.example.com":               "has no scheme: want https://app.example.com or http://app.example.com",
		"localhost:3000":                "has no scheme: want https://localhost:3000",
		"//app.example.com":             "has no scheme: want https://app.example.com",
		"*.example.com":                 "has no scheme: want https://*.example.com",
		"https:app.example.com":         "want two slashes after the scheme: https://app.example.com",
		"https:/app.example.com":        "want two slashes after the scheme: https://app.example.com",
		"://app.example.com":            `"" is not a scheme`,
		"*://app.example.com":           `"*" is not a scheme`,
		"1http://app.example.com":       `"1http" is not a scheme`,
		"wss://app.example.com":         "want the origin of the page that opens it, https://app.example.com",
		"ws://localhost:8080":           "want the origin of the page that opens it, http://localhost:8080",
		"https://":                      "names no host",
		"https://:8080":                 "names no host",
		"https://app.example.com/path":  "has a path, and an origin has none: want https://app.example.com",
		"https://app.example.com/*":     "has a path",
		"https://app.example.com//":     "has a path",
		"https://app.example.com?x=1":   "has a path",
		"https://app.example.com#top":   "has a path",
		`https://app.example.com\x`:     "has a path",
		"https://anna@app.example.com":  "has a user name",
		"https://app:0":                 `"0" is not a port`,
		"https://app:65536":             `"65536" is not a port: want 1 to 65535`,
		"https://app:+443":              `"+443" is not a port`,
		"https://app:":                  `"" is not a port`,
		"https://app:*":                 `"*" is not a port`,
		"https://app:https":             `"https" is not a port`,
		"https://*":                     "wildcard that is not its first label",
		"https://app.*.example.com":     "wildcard that is not its first label: want *.example.com",
		"https://*app.example.com":      "wildcard that is not its first label",
		"https://*.*.example.com":       "wildcard that is not its first label",
		"https://app.example.*":         "wildcard that is not its first label",
		"https://*.com":                 "anyone can have a name below com",
		"https://*.co.uk":               "anyone can have a name below co.uk",
		"https://*.github.io":           "anyone can have a name below github.io",
		"https://*.10.0.0.1":            "wildcard before an address",
		"https://*.[::1]":               "wildcard before an address",
		"https://::1":                   "IPv6 address needs brackets",
		"https://[::1":                  "is not an IPv6 address",
		"https://[::1]x":                "is not an IPv6 address",
		"https://[127.0.0.1]":           "is not an IPv6 address",
		"https://[fe80::1%eth0]":        "is not an IPv6 address",
		"https://10.0.0.256":            "is not an IPv4 address",
		"https://127.1":                 "is not an IPv4 address",
		"https://0x7f000001":            "is not an IPv4 address",
		"https://app..example.com":      "is not the name of a host",
		"https://app!.example.com":      "is not the name of a host",
		"https://app%2eexample.com":     "is not the name of a host",
		"https://\u200dapp.example":     "is not the name of a host",
		"https://a.example https://b.x": "separate several by commas",
		"https://a.example;https://b.x": "separate several by commas",
		"chrome-extension://*":          "wildcard, which only http and https may have",
		"capacitor://":                  "names no host: want the whole origin, such as capacitor://localhost",
		"capacitor://local host":        "separate several by commas",
		"tauri://localhost/index":       "has a path",
	} {
		if _, err := Parse(entry); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", entry, err, want)
		}
	}
}

// TestOwn verifies which pages are the server's own, behind which proxies ever.
func TestOwn(t *testing.T) {
	for _, c := range []struct {
		host   string
		secure bool
		own    []string
		other  []string
	}{
		{"images.lan:443", false, []string{"https://images.lan", "https://images.lan:443", "https://IMAGES.lan", "http://images.lan:443"}, []string{"http://images.lan", "https://images.lan:8443"}},
		{"images.lan", false, []string{"https://images.lan", "https://images.lan:443", "http://images.lan", "http://images.lan:80"}, []string{"https://images.lan:80", "http://images.lan:443", "http://images.lan:8080"}},
		{"images.lan", true, []string{"https://images.lan", "https://images.lan:443"}, []string{"http://images.lan", "http://images.lan:80"}},
		{"images.lan:80", false, []string{"http://images.lan"}, []string{"https://images.lan"}},
		{"images.lan:8080", false, []string{"http://images.lan:8080", "https://images.lan:8080"}, []string{"http://images.lan", "https://images.lan"}},
		{"IMAGES.lan.", false, []string{"https://images.lan"}, nil},
		{"[::1]:8080", false, []string{"http://[::1]:8080", "http://[0::1]:8080"}, []string{"http://[::2]:8080", "http://[::1]"}},
		{"[::1]", false, []string{"http://[::1]"}, nil},
		{"127.0.0.1:8080", false, []string{"http://127.0.0.1:8080"}, []string{"http://localhost:8080"}},
		{"localhost", false, []string{"http://localhost"}, []string{"capacitor://localhost", "tauri://localhost", "file://localhost", "ws://localhost", "null", ""}},
		{"", false, nil, []string{"http://", "https://", "null", "http://images.lan"}},
		{"images.lan:x", false, nil, []string{"http://images.lan", "http://images.lan:x"}},
		{"*.lan", false, nil, []string{"http://*.lan", "http://images.lan"}},
	} {
		for _, header := range c.own {
			if !Own(header, c.host, c.secure) {
				t.Errorf("%q is not the own page of %q, secure %t", header, c.host, c.secure)
			}
		}
		for _, header := range c.other {
			if Own(header, c.host, c.secure) {
				t.Errorf("%q is the own page of %q, secure %t", header, c.host, c.secure)
			}
		}
	}
}

// allowedByFuzz are the origins in ASCII that the list of FuzzOrigins allows.
var allowedByFuzz = regexp.MustCompile(`^(?i:https)://(?i:([a-z0-9_-]+\.)*example\.com)\.?(:0*443)?/?$`)

// FuzzOrigins verifies that a header is allowed only if its host is the one that browsers
// connect to. Letters beyond ASCII are left out, because some map to those of the host.
func FuzzOrigins(f *testing.F) {
	for _, header := range []string{"https://app.example.com", "https://example.com@evil", "https://evil#.example.com", `https://evil\.example.com`, "https://evil/.example.com", "null", "https://a.example.com:443"} {
		f.Add(header)
	}
	var list List
	for _, entry := range []string{"https://*.example.com", "https://example.com"} {
		p, err := Parse(entry)
		if err != nil {
			f.Fatal(err)
		}
		list = append(list, p)
	}
	f.Fuzz(func(t *testing.T, header string) {
		ascii := !strings.ContainsFunc(header, func(r rune) bool { return r > 127 })
		if ascii && list.Allows(header) && !allowedByFuzz.MatchString(header) {
			t.Errorf("%q is allowed", header)
		}
	})
}
