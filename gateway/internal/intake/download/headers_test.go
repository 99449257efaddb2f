package download

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// requests records the requests to an origin.
type requests struct {
	mu   sync.Mutex // guards list
	list []string
}

func (r *requests) note(req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := req.Header
	r.list = append(r.list, fmt.Sprintf("%s%s %s %s %s", req.Host, req.URL.Path, h.Get("Authorization"), h.Get("Referer"), h.Get("User-Agent")))
}

func (r *requests) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := strings.Join(r.list, "\n")
	r.list = nil
	return all
}

// TestHeadersOfClients verifies that the header fields of a client arrive, and only at the
// origin of its URL: not after a redirect to another scheme, host or port, and not on the way
// back either.
func TestHeadersOfClients(t *testing.T) {
	var seen requests
	handler := func(w http.ResponseWriter, r *http.Request) {
		seen.note(r)
		if to := r.URL.Query().Get("to"); to != "" {
			w.Header()["Location"] = []string{to}
			w.WriteHeader(http.StatusTemporaryRedirect)
		}
	}
	one, other := serve(t, handler), serve(t, handler)
	port := strings.TrimPrefix(one.URL, "http://127.0.0.1:")
	a, b := "http://a.example:"+port, "http://b.example:"+port
	c := client(t, Config{AllowHeaders: true, UserAgent: "ours", resolver: resolve(t, "127.0.0.1")})
	fields := map[string]string{"authorization": "Bearer secret", "REFERER": "https://shop.example/ü", "User-Agent": "theirs"}
	const with, without = " Bearer secret https://shop.example/ü theirs", "   ours"
	for name, tc := range map[string]struct{ url, want string }{
		"no redirect":     {a + "/x", "a.example:P/x" + with},
		"same origin":     {a + "/x?to=/y", "a.example:P/x" + with + "\na.example:P/y" + with},
		"same origin URL": {a + "/x?to=" + a + "/y", "a.example:P/x" + with + "\na.example:P/y" + with},
		"another host":    {a + "/x?to=" + b + "/y", "a.example:P/x" + with + "\nb.example:P/y" + without},
		"another port":    {a + "/x?to=" + strings.Replace(other.URL, "127.0.0.1", "a.example", 1) + "/y", "a.example:P/x" + with + "\na.example:Q/y" + without},
		"there and back":  {a + "/x?to=" + b + "/y%3Fto=" + a + "/z", "a.example:P/x" + with + "\nb.example:P/y" + without + "\na.example:P/z" + without},
	} {
		t.Run(name, func(t *testing.T) {
			img, err := c.Get(t.Context(), "job", tc.url, place(tc.url), fields)
			if err != nil {
				t.Fatal(err)
			}
			img.Release()
			got := strings.NewReplacer(":"+port, ":P", other.URL[len("http://127.0.0.1"):], ":Q").Replace(seen.take())
			if got != tc.want {
				t.Errorf("the origins received\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

// TestHeadersStayOnHTTPS verifies that header fields for an https URL are not sent over http.
func TestHeadersStayOnHTTPS(t *testing.T) {
	from, err := Check("https://example.com/")
	if err != nil {
		t.Fatal(err)
	}
	for location, same := range map[string]bool{
		"/x": true, "https://example.com:443/x": true, "//EXAMPLE.com/x": true, "http://example.com/x": false,
		"http://example.com:443/x": false, "https://example.com:444/x": false, "https://www.example.com/x": false,
	} {
		to, err := redirected(from, location)
		if err != nil || sameOrigin(from, to) != same {
			t.Errorf("%s: %v, same origin %v, want %v", location, err, !same, same)
		}
	}
}

func TestHeadersThatAreNotSent(t *testing.T) {
	allowed := client(t, Config{AllowHeaders: true})
	const secret = "s3cr3t"
	for name, fields := range map[string]map[string]string{
		"another name":       {"Cookie": secret},
		"Host":               {"Host": secret},
		"a name with spaces": {"Authorization ": secret},
		"a line break":       {"Authorization": secret + "\r\nHost: x"},
		"a line feed":        {"Referer": "\n" + secret},
		"NUL":                {"User-Agent": secret + "\x00"},
		"twice":              {"Authorization": secret, "AUTHORIZATION": secret},
		"too long":           {"Authorization": strings.Repeat("x", MaxHeaderBytes-len("Authorization")+1)},
		"too many":           {"1": "", "2": "", "3": "", "4": "", "5": "", "6": "", "7": "", "8": "", "9": ""},
	} {
		_, err := allowed.CheckHeaders(fields)
		f, ok := errors.AsType[*pipeline.Failure](err)
		if !ok || f.Code != pipeline.CodeURLNotAllowed || !strings.HasPrefix(f.Text, "Invalid headers: ") || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v, want a failure without the value", name, err)
		}
		if _, err := allowed.Get(t.Context(), "job", "http://127.0.0.1/", place("http://127.0.0.1/"), fields); err == nil {
			t.Errorf("%s: the URL was requested", name)
		}
	}
	if h, err := allowed.CheckHeaders(map[string]string{"authorization": strings.Repeat("x", MaxHeaderBytes-len("Authorization")), "Cookie": ""}); err == nil || h != nil {
		t.Errorf("a name counts even without a value: %v", err)
	}
	if h, err := allowed.CheckHeaders(map[string]string{"authorization": strings.Repeat("x", MaxHeaderBytes-len("Authorization"))}); err != nil || len(h) != 1 {
		t.Errorf("fields of the largest size: %v", err)
	}
	off := client(t, Config{})
	for _, fields := range []map[string]string{nil, {}, {"Authorization": ""}} {
		if h, err := off.CheckHeaders(fields); err != nil || len(h) != 0 {
			t.Errorf("%v without AllowHeaders: %v, %v, want none and nil", fields, h, err)
		}
	}
	_, err := off.Get(t.Context(), "job", "http://127.0.0.1/", place("http://127.0.0.1/"), map[string]string{"Authorization": secret})
	wantFailure(t, err, pipeline.CodeURLNotAllowed, "Headers not allowed: this server sends no headers of clients to image URLs")
}
