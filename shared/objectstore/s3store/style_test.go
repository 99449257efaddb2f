package s3store

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
)

// domain is the domain name that the servers of deployments/local are configured with.
const domain = "s3.test"

// TestHostStyle makes every call with the bucket in the host name, on servers that know
// their own domain.
func TestHostStyle(t *testing.T) {
	for _, variables := range []string{"TEST_S3", "TEST_VERSITYGW"} {
		t.Run(variables, func(t *testing.T) {
			c := configOf(t, variables)
			server := strings.TrimPrefix(c.Endpoint, "http://")
			_, port, _ := net.SplitHostPort(server)
			c.Endpoint, c.PathStyle = "http://"+net.JoinHostPort(domain, port), false
			opening := func(t *testing.T, c Config) *Store {
				s := opened(t, c, standard)
				dial := s.http.DialContext
				s.http.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) { return dial(ctx, network, server) }
				return s
			}
			if err := opening(t, c).Ready(t.Context()); err != nil {
				t.Skipf("server does not use the domain %s: %v", domain, err)
			}
			c.Prefix = "with a space/"
			everyCall(t, opening(t, c))
		})
	}
}

// TestBucketInAddress verifies which part of the address contains the bucket.
func TestBucketInAddress(t *testing.T) {
	for _, test := range []struct {
		endpoint, bucket string
		path             bool
		host, url        string
	}{
		{"http://s3.example.org:9000", "original", false, "original.s3.example.org:9000", "/a"},
		{"http://s3.example.org:9000", "original", true, "s3.example.org:9000", "/original/a"},
		{"http://s3.example.org", "with.dots", false, "with.dots.s3.example.org", "/a"},
		{"http://127.0.0.1:9000", "original", false, "127.0.0.1:9000", "/original/a"},
		{"http://[::1]:9000", "original", false, "[::1]:9000", "/original/a"},
	} {
		f := newFake(t, nil)
		var sent *http.Request
		f.fault = func(_ http.ResponseWriter, r *http.Request) bool {
			sent = r
			return r.Host == test.host && r.URL.Path == test.url
		}
		s := opened(t, Config{Endpoint: test.endpoint, AccessKey: "key", SecretKey: "secret", Bucket: test.bucket, PathStyle: test.path}, relaxed)
		s.bucketSeen.Store(true)
		dial := s.http.DialContext
		s.http.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dial(ctx, network, f.Listener.Addr().String())
		}
		if _ = s.Delete(t.Context(), "a"); sent == nil || sent.Host != test.host || sent.URL.Path != test.url {
			t.Errorf("%+v: the request was to %s%s", test, sent.Host, sent.URL)
		}
	}
}
