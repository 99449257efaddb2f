package download

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

const textHost = "URL not allowed: images are not fetched from this host"

// TestHostsOfTheListOnly verifies that the list applies to every spelling of a host.
func TestHostsOfTheListOnly(t *testing.T) {
	var s seen
	c := client(t, Config{
		AllowHosts: []string{"images.example.org", "*.cdn.example", "Mixed.Example.", "192.0.2.7", "xn--bcher-kva.example", "*.Köln.example", "2001:DB8:0::1"},
		connect:    s.connect, resolver: resolve(t, "10.0.0.1"),
	})
	for _, host := range []string{
		"images.example.org", "IMAGES.example.org", "images.example.org.", "images.example.org:443", "images.example.org:8080",
		"a.cdn.example", "a.b.cdn.example", "a.cdn.example.", "mixed.example", "192.0.2.7", "xn--bcher-kva.example",
		"ｉmages.example.org", "images。example.org", "bücher.example", "BÜCHER.example", "bu\u0308cher.example", "XN--BCHER-KVA.example",
		"a.KÖLN.example", "a.xn--kln-sna.example", "１９２.0.2.7", "[2001:db8::1]", "[2001:0DB8::0:1]:8080",
	} {
		if _, err := c.Check("http://" + host + "/a.jpg"); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, host := range []string{
		"example.org", "a.images.example.org", "images.example.org.evil.example", "evilimages.example.org", "images.example.orgx",
		"cdn.example", ".cdn.example", "evilcdn.example", "a.cdn.example.evil.example", "images.example.org..", "imagesxexample.org",
		"192.0.2.8", "192.0.2.07", "3221225991", "0xc0000207", "[::ffff:192.0.2.7]", "bucher.example", "köln.example", "images.example.org。evil.example",
		"evil.example#images.example.org", "evil.example?images.example.org", "evil.example/images.example.org",
		"evil.example/.cdn.example",
	} {
		_, err := get(t, c, "http://"+host)
		wantFailure(t, err, pipeline.CodeURLNotAllowed, textHost)
	}
	// URLs that a browser might read as a listed host are rejected.
	for _, address := range []string{
		"http://images.example.org@evil.example/", "http://evil.example@images.example.org/", "http://evil.example\\@images.example.org/",
		"http://evil.example\\.cdn.example/", "http://images.example.org%2eevil.example/", "http://images.example.org%00.evil.example/",
		"http://images.example.org:80@evil.example/", "http://evil.example:80:images.example.org/", "http:\\\\images.example.org/",
		"http://images.example.org\t.evil.example/", "http://[images.example.org]/", "http:/images.example.org/", "http:images.example.org",
		"http://images.example.org／.evil.example/", "http://evil.example／.cdn.example/", "http://evil.example＃.cdn.example/", "http://evil.example？.cdn.example/",
		"http://evil.example＠images.example.org/", "http://evil.example：80.cdn.example/", "http://evil.exampl℀.cdn.example/", "http://evil.example％.cdn.example/",
		"http://evil.example＼.cdn.example/", "http://evil.example\u2028.cdn.example/", "http://evil.example\xff.cdn.example/",
	} {
		if _, err := get(t, c, address); err == nil || !strings.Contains(err.Error(), pipeline.CodeURLNotAllowed) {
			t.Errorf("%q: %v, want an error containing %q", address, err, pipeline.CodeURLNotAllowed)
		}
	}
	if got := s.String(); got != "" {
		t.Errorf("connected to %s, want \"\"", got)
	}
}

// TestRedirectsStayOnTheList redirects from a listed host to another host.
func TestRedirectsStayOnTheList(t *testing.T) {
	var asked []string
	origin := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Host)
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		w.Write([]byte("image"))
	})
	port := strings.TrimPrefix(origin.URL, "http://127.0.0.1:")
	var s seen
	c := client(t, Config{AllowHosts: []string{"a.example", "*.b.example"}, connect: s.connect, resolver: resolve(t, "127.0.0.1")})
	if data, err := get(t, c, "http://a.example:"+port+"/?to=http://x.b.example:"+port+"/"); err != nil || string(data) != "image" {
		t.Errorf("got %q, %v, want \"image\" and nil", data, err)
	}
	for _, to := range []string{"http://b.example:" + port + "/", "//evil.example:" + port + "/", origin.URL + "/"} {
		_, err := get(t, c, "http://a.example:"+port+"/?to="+to)
		wantFailure(t, err, pipeline.CodeURLNotAllowed, textHost)
	}
	for _, host := range asked {
		if name := strings.TrimSuffix(host, ":"+port); name != "a.example" && name != "x.b.example" {
			t.Errorf("%s was requested", name)
		}
	}
}

// TestTheListLetsNoAddressPass verifies that a listed host does not make its network
// allowed.
func TestTheListLetsNoAddressPass(t *testing.T) {
	tr := setTrap(t, "127.0.0.2:0")
	var s seen
	c := client(t, Config{
		AllowHosts: []string{"a.example", "127.0.0.2", "::1"}, AllowNetworks: []netip.Prefix{}, connect: s.connect, resolver: resolve(t, "127.0.0.2"),
	})
	for _, host := range []string{"a.example:" + tr.port(), "a.example", "127.0.0.2:" + tr.port(), "[::1]:" + tr.port()} {
		_, err := get(t, c, "http://"+host+"/")
		wantFailure(t, err, pipeline.CodeDownloadFailed, textNoHeader)
	}
	if got := s.String(); got != "" {
		t.Errorf("the guard let pass: %s, want \"\"", got)
	}
	tr.wantUntouched(t)
}

func TestCheckHost(t *testing.T) {
	for _, good := range []string{"example.org", "*.example.org", "localhost", "a_b.example.", "192.0.2.1", "2001:db8::1", "xn--bcher-kva.example", "bücher.example", "*.Bücher.example", "r3---sn-x.example"} {
		if err := CheckHost(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "*", "*.", ".", ".example.org", "a..b", "a.*.b", "**.b", "*a.example", "http://a.example", "a.example:80", "a.example/", "a b", "a／b", "a\xff.example",
		"[::1]", "*.::1", "user@a.example",
	} {
		if CheckHost(bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
