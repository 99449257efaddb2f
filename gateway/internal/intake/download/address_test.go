package download

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// targets are the request targets that an origin has received, byte for byte.
type targets struct {
	mu   sync.Mutex // guards list
	list []string
}

func (r *targets) ServeHTTP(_ http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, req.RequestURI)
}

func (r *targets) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.list, " ")
}

// byteForByte has the parts of URLs after their host, and what their origin must receive.
var byteForByte = map[string]string{
	"":             "/",
	"/":            "/",
	"?":            "/?",
	"?a":           "/?a",
	"/a.jpg?":      "/a.jpg?",
	"/a.jpg#b":     "/a.jpg",
	"/a.jpg #b":    "/a.jpg%20",
	"/a.jpg?x#?y":  "/a.jpg?x",
	"/%23?%23":     "/%23?%23",
	"//a///b.jpg":  "//a///b.jpg",
	"/a/../b/./c":  "/a/../b/./c",
	"/%2e%2e/%2E/": "/%2e%2e/%2E/",

	// A byte that HTTP forbids changes no other byte.
	"/my photo%2B1.jpg":                  "/my%20photo%2B1.jpg",
	"/o/images%2Füber.jpg?alt=media":     "/o/images%2F%C3%BCber.jpg?alt=media",
	"/a b%2F%2f%c3%A9+c%20d.jpg":         "/a%20b%2F%2f%c3%A9+c%20d.jpg",
	"/%7Euser/~user/%41.jpg ?x= %2B+%20": "/%7Euser/~user/%41.jpg%20?x=%20%2B+%20",
	"/写真.jpg?q=ü&r=%FC":                  "/%E5%86%99%E7%9C%9F.jpg?q=%C3%BC&r=%FC",
	"/100%.jpg?50%&%4&%zz&%%41":          "/100%25.jpg?50%25&%254&%25zz&%25%41",
	"/\"<>\\^`{|}?\"<>\\^`{|}":           "/%22%3C%3E%5C%5E%60%7B%7C%7D?%22%3C%3E%5C%5E%60%7B%7C%7D",
	"/a\tb\x01\x7f?\x1f":                 "/a%09b%01%7F?%1F",
	"/a\u00a0b\u200b.jpg":                "/a%C2%A0b%E2%80%8B.jpg",
	"/latin-1 \xe9.jpg?\xff":             "/latin-1%20%E9.jpg?%FF",

	// Signed URLs: every reserved character, and the order of the parameters.
	"/-._~:@!$&'()*+,;=[]/?b=-._~:/@!$&'()*+,;=[]?&a":                                                    "/-._~:@!$&'()*+,;=[]/?b=-._~:/@!$&'()*+,;=[]?&a",
	"/k?X-Amz-Credential=A%2F20261128%2Feu%2Fs3&X-Amz-Date=1&a=&&b;c=%3b&X-Amz-Signature=f%2b+%2B%3d%3D": "/k?X-Amz-Credential=A%2F20261128%2Feu%2Fs3&X-Amz-Date=1&a=&&b;c=%3b&X-Amz-Signature=f%2b+%2B%3d%3D",
	"/k ü?Signature=a%2Fb+c%3D&Key-Pair-Id=K~_&Policy=ey__":                                              "/k%20%C3%BC?Signature=a%2Fb+c%3D&Key-Pair-Id=K~_&Policy=ey__",
}

// TestURLsArriveByteForByte verifies that path and query arrive as the client wrote them, with
// only the illegal bytes escaped, in the URL and in an absolute redirect.
func TestURLsArriveByteForByte(t *testing.T) {
	for sent, want := range byteForByte {
		t.Run(sent, func(t *testing.T) {
			var got targets
			origin := serve(t, got.ServeHTTP)
			if _, err := get(t, client(t, Config{}), " "+origin.URL+sent+"\n"); err != nil || got.String() != want {
				t.Errorf("the origin received %q, %v, want %q", got.String(), err, want)
			}
			var moved targets
			target := serve(t, moved.ServeHTTP)
			redirect := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Location"] = []string{target.URL + sent}
				w.WriteHeader(http.StatusFound)
			})
			if strings.ContainsAny(sent, "\x01\x1f\x7f") {
				return // net/http does not send such a Location
			}
			if _, err := get(t, client(t, Config{}), redirect.URL); err != nil || moved.String() != want {
				t.Errorf("after a redirect, the origin received %q, %v, want %q", moved.String(), err, want)
			}
		})
	}
}

// TestRelativeRedirects verifies that a relative Location is resolved by RFC 3986 and that no
// escape of it or of the base changes. The first cases are those of section 5.4.
func TestRelativeRedirects(t *testing.T) {
	for _, tc := range []struct{ base, location, want string }{
		{"/b/c/d;p?q", "g", "/b/c/g"},
		{"/b/c/d;p?q", "./g", "/b/c/g"},
		{"/b/c/d;p?q", "g/", "/b/c/g/"},
		{"/b/c/d;p?q", "/g", "/g"},
		{"/b/c/d;p?q", "?y", "/b/c/d;p?y"},
		{"/b/c/d;p?q", "g?y", "/b/c/g?y"},
		{"/b/c/d;p?q", "#s", "/b/c/d;p?q"},
		{"/b/c/d;p?q", "g?y#s", "/b/c/g?y"},
		{"/b/c/d;p?q", ";x", "/b/c/;x"},
		{"/b/c/d;p?q", ".", "/b/c/"},
		{"/b/c/d;p?q", "..", "/b/"},
		{"/b/c/d;p?q", "../g", "/b/g"},
		{"/b/c/d;p?q", "../../../../g", "/g"},
		{"/b/c/d;p?q", "/./g", "/g"},
		{"/b/c/d;p?q", "/../g", "/g"},
		{"/b/c/d;p?q", "g..", "/b/c/g.."},
		{"/b/c/d;p?q", "./g/.", "/b/c/g/"},
		{"/b/c/d;p?q", "g;x=1/../y", "/b/c/y"},
		{"/b/c/d;p?q", "g?y/../x", "/b/c/g?y/../x"},

		{"", "g", "/g"},
		{"?q", "?y", "/?y"},
		{"/b?q", "?", "/b?"},
		{"/b", " c #d", "/c%20"},
		{"/b", "?c #d", "/b?c%20"},
		{"/b", "c#d:e/../f", "/c"},
		{"/%2Fb%2f%c3%bc/a", "c%2B d%2Fü.jpg?x=%2B +", "/%2Fb%2f%c3%bc/c%2B%20d%2F%C3%BC.jpg?x=%2B%20+"},
		{"/a b%2B/c", "?x", "/a%20b%2B/c?x"},
		{"/a b%2B/../c", "?x", "/a%20b%2B/../c?x"},
		{"/a", "%2e%2E/b", "/%2e%2E/b"},
		{"/a/b", "caf\xe9.jpg", "/a/caf%E9.jpg"},
		{"/a/b", "/café 100%.jpg", "/caf%C3%A9%20100%25.jpg"},
		{"/a/b", "10:30.jpg", "/a/10:30.jpg"},
		{"/a/b", "..//c", "//c"},
		{"//a//b", "c", "//a//c"},
	} {
		base, err := Check("http://example.com:81" + tc.base)
		if err != nil {
			t.Fatal(err)
		}
		u, err := redirected(base, tc.location)
		if err != nil || u.RequestURI() != tc.want || u.Host != "example.com:81" {
			t.Errorf("%s redirects to %s: got %v, %v, want %s", tc.base, tc.location, u, err, tc.want)
		}
	}
	base := &url.URL{Scheme: "https", Host: "example.com", Path: "/a"}
	for location, want := range map[string]string{
		"//CDN.example/b c":            "https://cdn.example/b%20c",
		"//bücher.example:8443?%2b":    "https://xn--bcher-kva.example:8443?%2b",
		"HTTP://example.com:80/ü":      "http://example.com/%C3%BC",
		"https://example.com:443/a/..": "https://example.com/a/..",
	} {
		if u, err := redirected(base, location); err != nil || u.String() != want {
			t.Errorf("redirect to %s: got %v, %v, want %s", location, u, err, want)
		}
	}
}

// TestHostHasOneForm verifies that the name that is looked up, the name in the TLS handshake and
// the Host field are the same, in every spelling of a name.
func TestHostHasOneForm(t *testing.T) {
	var mu sync.Mutex
	var host, sni string
	origin := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		host, _, _ = strings.Cut(r.Host, ":")
	}))
	origin.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		sni = hello.ServerName
		return nil, nil
	}}
	origin.StartTLS()
	t.Cleanup(origin.Close)
	_, port, _ := net.SplitHostPort(origin.Listener.Addr().String())
	for name, want := range map[string]string{
		"Example.COM":            "example.com",
		"example.com.":           "example.com",
		"bücher.example":         "xn--bcher-kva.example",
		"BÜCHER.Example":         "xn--bcher-kva.example",
		"bu\u0308cher.example":   "xn--bcher-kva.example",
		"BU\u0308CHER。example":   "xn--bcher-kva.example",
		"XN--BCHER-KVA．EXAMPLE":  "xn--bcher-kva.example",
		"straße.example":         "xn--strae-oqa.example",
		"ｅｘａｍｐｌｅ｡com":            "example.com",
		"faß_x.example":          "xn--fa_x-wna.example",
		"a_b.example":            "a_b.example",
		"xn--ls8h.example":       "xn--ls8h.example",
		"r3---sn-ü.example":      "xn--r3---sn--e6a.example",
		"\U0001f4a9.example":     "xn--ls8h.example",
		"ex\u00adample。com。":     "example.com",
		"xn--zzzzzzzz.ü.example": "",
	} {
		t.Run(name, func(t *testing.T) {
			host, sni = "", ""
			resolver, lookups := recordLookups(t)
			c := client(t, Config{resolver: resolver})
			c.transport.TLSClientConfig.InsecureSkipVerify = true // the certificate is for another name
			_, err := get(t, c, "https://"+name+":"+port+"/")
			if want == "" {
				wantFailure(t, err, pipeline.CodeURLNotAllowed, "Invalid URL")
				return
			}
			if err != nil || host != want || sni != want {
				t.Errorf("Host is %q, SNI %q, error %v, want %q", host, sni, err, want)
			}
			for _, asked := range lookups() {
				if strings.TrimSuffix(asked, ".") != want {
					t.Errorf("%q was looked up, want %q", asked, want)
				}
			}
		})
	}
}

// TestDefaultPortIsLeftOut verifies that a port that the scheme implies is not part of Host: the
// signature of a signed URL covers Host without it.
func TestDefaultPortIsLeftOut(t *testing.T) {
	for raw, want := range map[string]string{
		"http://example.com:80/": "example.com", "https://example.com:443/": "example.com", "http://example.com:443/": "example.com:443",
		"https://example.com:80/": "example.com:80", "https://example.com:00443/": "example.com", "http://[2001:DB8::0:1]:80/": "[2001:db8::1]",
		"http://[::FFFF:1.2.3.4]:81/": "[::ffff:1.2.3.4]:81",
	} {
		if u, err := Check(raw); err != nil || u.Host != want {
			t.Errorf("the host of %s is %v, %v, want %s", raw, u, err, want)
		}
	}
}
