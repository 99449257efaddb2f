// Package locktest tests stores on buckets with Object Lock. [Proxy] adds to a real server
// what it does not enforce itself: AWS refuses to put an object without a checksum, whereas
// MinIO and versitygw do so only if the request has a retention of its own.
package locktest

import (
	"bytes"
	"crypto/md5"  //nolint:gosec // Content-MD5 is MD5.
	"crypto/sha1" //nolint:gosec // x-amz-checksum-sha1 is SHA-1.
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// Required is the text of AWS for a PUT without a checksum.
const Required = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"

// maxBody is the maximum size of an object, in bytes.
const maxBody = 64 << 20

// checksums are the headers that satisfy the rule.
var checksums = map[string]func() hash.Hash{
	"Content-Md5":           md5.New,
	"X-Amz-Checksum-Crc32":  func() hash.Hash { return crc32.NewIEEE() },
	"X-Amz-Checksum-Crc32c": func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	"X-Amz-Checksum-Sha1":   sha1.New,
	"X-Amz-Checksum-Sha256": sha256.New,
}

// Rule refuses the PUT of an object with 400 unless it has a checksum that is correct, and
// passes every other request to Next.
type Rule struct {
	Next http.Handler

	RefuseAll       atomic.Bool  // refuses the PUT of every object
	Refused, Passed atomic.Int64 // number of PUTs of objects
}

var _ http.Handler = (*Rule)(nil)

// ServeHTTP implements http.Handler.
func (l *Rule) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if r.Method != http.MethodPut || key == "" || r.URL.RawQuery != "" {
		l.Next.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		refuse(w, "IncompleteBody", err.Error())
		return
	}
	code, text := check(r.Header, body)
	if l.RefuseAll.Load() {
		code, text = "InvalidRequest", "refused by the test"
	}
	if code != "" {
		l.Refused.Add(1)
		refuse(w, code, text)
		return
	}
	l.Passed.Add(1)
	r.Body = io.NopCloser(bytes.NewReader(body))
	l.Next.ServeHTTP(w, r)
}

// check returns the code and the text of a refusal, or "".
func check(header http.Header, body []byte) (code, text string) {
	found := false
	for name, sum := range checksums {
		value := header.Get(name)
		if value == "" {
			continue
		}
		found = true
		h := sum()
		_, _ = h.Write(body)
		if want := base64.StdEncoding.EncodeToString(h.Sum(nil)); value != want {
			return "BadDigest", fmt.Sprintf("The %s you specified did not match the calculated checksum.", name)
		}
	}
	if !found {
		return "InvalidRequest", Required
	}
	return "", ""
}

func refuse(w http.ResponseWriter, code, text string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, text)
}

// Proxy starts a proxy with the rule in front of the server at endpoint, until the end of
// the test, and returns its URL.
func Proxy(t testing.TB, endpoint string) (proxy string, rule *Rule) {
	t.Helper()
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	rule = &Rule{Next: &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // The signature covers it.
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}}
	server := httptest.NewServer(rule)
	t.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
	})
	return server.URL, rule
}
