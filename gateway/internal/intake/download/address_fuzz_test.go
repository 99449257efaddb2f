package download

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/imagebatch/imagebatch/gateway/internal/intake/pace"
)

// FuzzAddress verifies that the origin receives the path and query of a URL as the client wrote
// them: decoded, both are equal, every escape arrives byte for byte, and only bytes that HTTP
// forbids are escaped. The same URL arrives as a redirect.
func FuzzAddress(f *testing.F) {
	for sent := range byteForByte {
		f.Add(sent)
	}
	f.Fuzz(func(t *testing.T, sent string) {
		raw := "http://example.com/" + sent
		if strings.ContainsAny(sent, "\x00\r\n") {
			if _, err := Check(raw + "x"); err == nil {
				t.Fatalf("%q is accepted", raw)
			}
			return
		}
		if strings.TrimSpace(raw) != raw { // the white space around a URL is not part of it
			return
		}
		direct := received(t, raw)
		if strings.IndexFunc(sent, unicode.IsControl) < 0 { // net/http rejects such a Location
			if again := received(t, "http://example.com/redirect", raw); again != direct {
				t.Fatalf("%q arrived as %q, and after a redirect as %q", raw, direct, again)
			}
		}
		want, _, _ := strings.Cut("/"+sent, "#")
		got := direct
		if unescaped(got) != unescaped(want) {
			t.Fatalf("%q arrived as %q, which is another resource", raw, got)
		}
		for want != "" {
			c := want[0]
			escape := len(want) > 2 && c == '%' && unescaped(want[:3]) != want[:3]
			forbidden := c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 || c == '%' && !escape
			next := want[:1]
			if forbidden {
				next = fmt.Sprintf("%%%02X", c)
			}
			rest, ok := strings.CutPrefix(got, next)
			if !ok {
				t.Fatalf("%q arrived as %q: the rest is %q, want %q first", raw, direct, got, next)
			}
			want, got = want[1:], rest
		}
		if got != "" {
			t.Fatalf("%q arrived as %q, with %q too much", raw, direct, got)
		}
	})
}

// unescaped decodes the escapes of a URL; other percent signs stand for themselves.
func unescaped(s string) string {
	var b strings.Builder
	for ; s != ""; s = s[1:] {
		if s[0] == '%' && len(s) > 2 {
			if v, err := strconv.ParseUint(s[1:3], 16, 8); err == nil {
				b.WriteByte(byte(v))
				s = s[2:]
				continue
			}
		}
		b.WriteByte(s[0])
	}
	return b.String()
}

// received returns the request target that the origin of the last URL receives, when each URL
// redirects to the next.
func received(t *testing.T, urls ...string) string {
	t.Helper()
	c := New(Config{})
	defer c.transport.CloseIdleConnections()
	var target string
	asked := 0
	c.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			in := bufio.NewReader(there)
			line, _ := in.ReadString('\n')
			target = strings.TrimSuffix(strings.TrimPrefix(line, "GET "), " HTTP/1.1\r\n")
			for line != "\r\n" && line != "" {
				line, _ = in.ReadString('\n')
			}
			if asked++; asked < len(urls) {
				fmt.Fprintf(there, "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", urls[asked])
				return
			}
			io.WriteString(there, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}()
		return here, nil
	}
	u, err := c.Check(urls[0])
	if err != nil {
		t.Fatalf("%q: %v", urls[0], err)
	}
	a, err := c.follow(t.Context(), u, pace.Key(u), http.Header{})
	if err != nil {
		t.Fatalf("%q: %v", urls, err)
	}
	a.close()
	return target
}
