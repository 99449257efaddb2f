package download

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// notPublic has an address of every range that is not part of the public internet.
var notPublic = []string{
	"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.1.2.3",
	"169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.0.1", "192.168.255.255",
	"198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::ffff:192.168.0.1", "::ffff:0:127.0.0.1",
	"64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "fc00::1", "fd00:ec2::254", "fdff::1", "fe80::1",
	"fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1", "2002:7f00:1::", "2002:a00:1::1", "2001::1", "2001:1ff::1", "2001:db8::1",
	"169.254.0.1", "169.254.170.2", "100.100.100.200", "192.0.0.192", "239.255.255.250", "127.255.255.254",
	"::ffff:169.254.169.254", "::ffff:7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2001:0:7f00:1::", "2001:10::1",
	"2002:c0a8:1::", "fd12:3456:789a::1", "ff05::2", "::1%lo",
}

var public = []string{"1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001:80e::200e"}

func TestGuardLetsOnlyPublicAddressesPass(t *testing.T) {
	g := newGuard(nil)
	check := func(a string, port uint16) error {
		addr := netip.AddrPortFrom(netip.MustParseAddr(a), port)
		network := "tcp4"
		if addr.Addr().Is6() {
			network = "tcp6"
		}
		return g.control(network, addr.String(), nil)
	}
	for _, a := range notPublic {
		for _, port := range []uint16{80, 443, 22, 6379} {
			if err := check(a, port); !errors.Is(err, errBlocked) {
				t.Errorf("%s port %d: %v, want it blocked", a, port, err)
			}
		}
	}
	for _, a := range public {
		for _, port := range []uint16{80, 443} {
			if err := check(a, port); err != nil {
				t.Errorf("%s port %d: %v, want it allowed", a, port, err)
			}
		}
		for _, port := range []uint16{22, 25, 8080} {
			if err := check(a, port); !errors.Is(err, errBlocked) {
				t.Errorf("%s port %d: %v, want it blocked", a, port, err)
			}
		}
	}
	for _, bad := range [][2]string{{"udp4", "1.1.1.1:80"}, {"unix", "/run/x.sock"}, {"tcp4", "example.com:80"}, {"tcp4", ""}} {
		if err := g.control(bad[0], bad[1], nil); !errors.Is(err, errBlocked) {
			t.Errorf("%v: %v, want it blocked", bad, err)
		}
	}
}

func TestGuardLetsAllowedNetworksPassOnAnyPort(t *testing.T) {
	g := newGuard([]netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/32")})
	for _, tc := range []struct {
		network, address string
		allowed          bool
	}{
		{"tcp4", "10.1.2.3:9000", true},
		{"tcp6", "[::ffff:10.1.2.3]:9000", true},
		{"tcp6", "[fd00:1::5]:1", true},
		{"tcp6", "[fd00:1::5%eth0]:1", true},
		{"tcp4", "10.2.0.1:80", false},
		{"tcp6", "[fd00:2::5]:80", false},
		{"tcp4", "1.1.1.1:80", true},
		{"tcp4", "1.1.1.1:9000", false},
	} {
		if err := g.control(tc.network, tc.address, nil); (err == nil) != tc.allowed {
			t.Errorf("%s %s: %v, want allowed %v", tc.network, tc.address, err, tc.allowed)
		}
	}
}

// TestAttackInnerAddresses verifies that no spelling of an internal address reaches the
// dialer, in the host or anywhere else in the URL.
func TestAttackInnerAddresses(t *testing.T) {
	v4 := setTrap(t, "127.0.0.2:0")
	port := v4.port()
	var s seen
	// The resolver resolves every name, unusual spellings of numbers included, to an
	// internal address, as the C library's resolver would.
	c := client(t, Config{AllowNetworks: []netip.Prefix{}, connect: s.connect, resolver: resolve(t, "127.0.0.2")})
	hosts := []string{
		"localhost", "localhost.", "LOCALHOST", "internal.example", "internal.example.", "2130706434", "0x7f000002", "0x7f.2", "017700000002",
		"0177.0.0.02", "127.2", "127.0.2", "127.0.0.2.", "①②⑦.⓪.⓪.②", "127。0。0。2", "１２７.0.0.2", "0177.0.0.2", "0x7f.0.0.2", "0X7F.2",
		"127.000.000.002", "%31%32%37.0.0.2", "0", "2852039166", "0xa9fea9fe", "[::127.0.0.1]", "[0:0:0:0:0:0:0:1]",
		"[0000:0000:0000:0000:0000:0000:0000:0001]", "[0:0:0:0:0:ffff:7f00:0002]", "[::ffff:0:127.0.0.2]", "[64:ff9b::127.0.0.2]",
		// Spellings that UTS 46 maps to an address or to localhost.
		"１２７．０．０．２", "１２７｡０｡０｡２", "𝟏𝟐𝟕.0.0.𝟐", "⑯⑨.②⑤④.⑯⑨.②⑤④", "127.0.0.2。", "1\u00ad27.0.0.2", "０ｘ７ｆ．２", "２１３０７０６４３４", "ｌｏｃａｌｈｏｓｔ", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
		"LOCALHO\u017fT", "loca\u200blhost", "[::ffff:１２７.0.0.2]", "［::1］", "[::①]", "127.0.0.２",
	}
	for _, a := range notPublic {
		if strings.Contains(a, ":") {
			a = "[" + strings.ReplaceAll(a, "%", "%25") + "]"
		}
		hosts = append(hosts, a)
	}
	for _, host := range hosts {
		for _, address := range []string{"http://" + host + ":" + port + "/", "http://" + host + "/", "https://" + host + "/x.jpg"} {
			t.Run(address, func(t *testing.T) {
				_, err := get(t, c, address)
				f, ok := errors.AsType[*pipeline.Failure](err)
				if !ok || f.Text != textNoHeader && f.Text != "Invalid URL" {
					t.Error(err)
				}
			})
		}
	}
	for _, crooked := range []string{
		"file://localhost/etc/passwd", "FILE:///etc/passwd", "gopher://127.0.0.2:PORT/_GET", "ftp://127.0.0.2:PORT/a.jpg", "dict://127.0.0.2:PORT/stats",
		"ldap://127.0.0.2:PORT/", "tftp://127.0.0.2:PORT/a", "jar:http://127.0.0.2:PORT/!/a", "unix:///var/run/docker.sock", "http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
		"//127.0.0.2:PORT/a.jpg", "127.0.0.2:PORT/a.jpg", "http:127.0.0.2:PORT", "http:/127.0.0.2:PORT/", "http:///127.0.0.2:PORT/", "http://:PORT/",
		"http://@127.0.0.2:PORT/", "http://user:secret@127.0.0.2:PORT/", "http://example.com@127.0.0.2:PORT/", "http://127.0.0.2:PORT#@example.com/",
		"http://127.0.0.2:PORT?@example.com/", `http://example.com\@127.0.0.2:PORT/`, `http:\\127.0.0.2:PORT\a.jpg`, "http://127.0.0.2:PORT/\r\nSET a b",
		"http://127.0.0.2:PORT\r\nHost: x/", "http://127.0.0.2\x00.example.com:PORT/", "http://127.0.0.2\t:PORT/", " http://127.0.0.2:PORT/", "http://127.0.0.2:PORT ",
		"http://127.0.0.2:-1/", "http://127.0.0.2:/", "http://[::1:PORT/", "http://[127.0.0.2]:PORT/", "http://127.0.0.2%2f:PORT/", "http://127.0.0.2:22/",
		"http://127.0.0.2:6379/", "http://127.0.0.2:9000/original/", "http://127.0.0.2:15672/api/users",
	} {
		t.Run(crooked, func(t *testing.T) {
			_, err := get(t, c, strings.ReplaceAll(crooked, "PORT", port))
			f, ok := errors.AsType[*pipeline.Failure](err)
			if !ok || f.Code != pipeline.CodeURLNotAllowed && f.Text != textNoHeader {
				t.Error(err)
			}
		})
	}
	if got := s.String(); got != "" {
		t.Errorf("the guard allowed %s, want \"\"", got)
	}
	v4.wantUntouched(t)
}

func TestCheckRefusesWhatIsNeverFetched(t *testing.T) {
	const scheme = "Unsupported URL scheme: only http and https are allowed"
	const user = "Invalid URL: it must not contain a user name or password"
	for raw, text := range map[string]string{
		"ftp://example.com/a.jpg":          scheme,
		"file:///etc/passwd":               scheme,
		"gopher://example.com/_x":          scheme,
		"javascript:alert(1)":              scheme,
		"data:image/png;base64,AAAA":       scheme,
		"example.com/a.jpg":                scheme,
		"//example.com/a.jpg":              scheme,
		"":                                 scheme,
		"http://user:secret@example.com/":  user,
		"http://user@example.com/":         user,
		"http://@example.com/":             user,
		"http://":                          "Invalid URL",
		"http:example.com":                 "Invalid URL",
		"http:///a.jpg":                    "Invalid URL",
		"http://example.com:99999/":        "Invalid URL",
		"http://example.com:0/":            "Invalid URL",
		"http://example.com:/":             "Invalid URL",
		"http://[fe80::1%25eth0]/":         "Invalid URL",
		"http://exa mple.com/":             "Invalid URL",
		"http://example.com/\x00":          "Invalid URL",
		"http://user:secret@exa mple.com/": "Invalid URL",
	} {
		_, err := Check(raw)
		if err == nil {
			t.Errorf("Check(%q) = nil", raw)
			continue
		}
		wantFailure(t, err, pipeline.CodeURLNotAllowed, text)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("Check(%q) reveals the secret: %v", raw, err)
		}
	}
	for _, raw := range []string{"http://example.com", "HTTPS://EXAMPLE.com:443/a.jpg?b#c", " http://example.com/ä ", "http://[2606:4700::1]/"} {
		if _, err := Check(raw); err != nil {
			t.Errorf("Check(%q) = %v", raw, err)
		}
	}
}

func TestRebindingGainsNothing(t *testing.T) {
	tr := setTrap(t, "127.0.0.2:0")
	var s seen
	origin := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		http.Redirect(w, r, "http://rebound.example:"+tr.port()+"/", http.StatusFound)
	})
	_, port, _ := strings.Cut(strings.TrimPrefix(origin.URL, "http://"), ":")
	// The name first resolves to an allowed address, then to an internal one.
	c := client(t, Config{connect: s.connect, resolver: resolve(t, "127.0.0.1", "127.0.0.2")})
	_, err := get(t, c, "http://rebound.example:"+port+"/")
	wantFailure(t, err, pipeline.CodeDownloadFailed, textNoHeader)
	if got := s.String(); got != "127.0.0.1:"+port {
		t.Errorf("the guard allowed %s, want %v", got, "127.0.0.1:"+port)
	}
	tr.wantUntouched(t)
}

// TestAttackRedirects verifies that an allowed origin cannot redirect the gateway to an
// internal address or to another scheme, directly or through a second redirect.
func TestAttackRedirects(t *testing.T) {
	tr := setTrap(t, "127.0.0.2:0")
	var target atomic.Pointer[string]
	origin := serve(t, func(w http.ResponseWriter, r *http.Request) {
		to := *target.Load()
		if r.URL.Path == "/twice" {
			to = "/again"
		}
		w.Header()["Location"] = []string{to} // bypass the cleaning by http.Redirect
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	c := client(t, Config{})
	refused := func(path, to, code, text string) {
		t.Run(path+" to "+to, func(t *testing.T) {
			to := strings.ReplaceAll(to, "PORT", tr.port())
			target.Store(&to)
			_, err := get(t, c, origin.URL+path)
			wantFailure(t, err, code, text)
		})
	}
	for _, to := range []string{
		"http://127.0.0.2:PORT/", "//127.0.0.2:PORT/a.jpg", "http://127.0.0.2/", "https://127.0.0.2/", "http://[::ffff:127.0.0.2]:PORT/", "http://[::ffff:7f00:2]:PORT/",
		"http://[::1]:PORT/", "//[::1]:PORT/a.jpg", "http://[0:0::1]:PORT/", "https://[::1]/", "http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/",
		"http://192.168.0.1/", "http://0.0.0.0:PORT/", "http://0/", "http://[::]:PORT/",
		"http://①②⑦.⓪.⓪.②:PORT/", "//１２７．０．０．２:PORT/a b.jpg", "http://127。0。0。2:PORT/ü", "HTTP://127.0.0.2:PORT?\xe9", "//127.0.0.2:PORT",
	} {
		refused("/", to, pipeline.CodeDownloadFailed, textNoHeader)
		refused("/twice", to, pipeline.CodeDownloadFailed, textNoHeader)
	}
	const scheme, user, invalid = "Unsupported URL scheme: only http and https are allowed", "Invalid URL: it must not contain a user name or password", "Invalid URL"
	for to, text := range map[string]string{
		"file:///etc/passwd": scheme, "gopher://127.0.0.2:PORT/": scheme, "ftp://127.0.0.2:PORT/": scheme, "data:image/png;base64,iVBORw0KGgo=": scheme,
		"javascript:alert(1)": scheme, "http://user:secret@127.0.0.2:PORT/": user, "http://example.com@127.0.0.2:PORT/": user, "http://": invalid, "http://[::1": invalid, "http://127.0.0.2:99999/": invalid,
		"//127.0.0.2\t:PORT": invalid, "http://127.0.0.2\\:PORT/": invalid, "http:/127.0.0.2:PORT/": invalid, "http:127.0.0.2": invalid, "DATA:,x": scheme,
	} {
		refused("/", to, pipeline.CodeURLNotAllowed, text)
	}
	for _, to := range []string{"/", "?", "#", ".", "/\\127.0.0.2:PORT/", "\\\\127.0.0.2:PORT\\", "/./", "..//127.0.0.2:PORT/", "/..//127.0.0.2:PORT/", "2:127.0.0.2:PORT"} {
		refused("/", to, pipeline.CodeDownloadFailed, "Failed to download image: too many redirects")
	}
	tr.wantUntouched(t)
}

func TestNoProxyIsUsed(t *testing.T) {
	tr := setTrap(t, "127.0.0.1:0")
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, "http://"+tr.Addr().String())
	}
	origin := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("direct")) })
	_, port, _ := strings.Cut(strings.TrimPrefix(origin.URL, "http://"), ":")
	// Proxies are not used for loopback addresses, so the origin has a name.
	c := client(t, Config{resolver: resolve(t, "127.0.0.1")})
	data, err := get(t, c, "http://origin.example:"+port+"/")
	if err != nil || string(data) != "direct" {
		t.Errorf("got %q, %v, want \"direct\" and nil", data, err)
	}
	tr.wantUntouched(t)
}

func TestClosedBlockedUnresolvedAndSilentReadTheSame(t *testing.T) {
	closed := setTrap(t, "127.0.0.1:0")
	closed.Close()
	<-closed.done
	silent := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	c := client(t, Config{resolver: resolve(t, "10.0.0.1"), HeaderTimeout: 100 * time.Millisecond})
	var texts []string
	for _, address := range []string{
		"http://" + closed.Addr().String(), "http://10.0.0.1/", "http://10.0.0.1:81/", "http://intranet.example/", silent.URL,
	} {
		_, err := get(t, c, address)
		f, ok := errors.AsType[*pipeline.Failure](err)
		if !ok {
			t.Fatalf("%s: %v", address, err)
		}
		texts = append(texts, f.Code+f.Text+map[bool]string{true: "retryable"}[f.Retryable])
	}
	for _, text := range texts {
		if text != texts[0] {
			t.Errorf("the texts differ: %q", texts)
			break
		}
	}
}
