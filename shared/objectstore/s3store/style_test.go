package s3store

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
)

// domain is what the servers of deployments/local take for their own name.
const domain = "s3.test"

// TestHostStyle makes every call with the bucket in the name of the host, on servers
// that are told their own.
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
				t.Skipf("this server does not go by the name %s: %v", domain, err)
			}
			c.Prefix = "with a space/"
			everyCall(t, opening(t, c))
		})
	}
}

// TestWhereTheBucketIs holds which part of the address names it.
func TestWhereTheBucketIs(t *testing.T) {
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
		var asked *http.Request
		f.fault = func(_ http.ResponseWriter, r *http.Request) bool {
			asked = r
			return r.Host == test.host && r.URL.Path == test.url
		}
		s := opened(t, Config{Endpoint: test.endpoint, AccessKey: "key", SecretKey: "secret", Bucket: test.bucket, PathStyle: test.path}, patient)
		s.bucketSeen.Store(true)
		dial := s.http.DialContext
		s.http.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dial(ctx, network, f.Listener.Addr().String())
		}
		if _ = s.Delete(t.Context(), "a"); asked == nil || asked.Host != test.host || asked.URL.Path != test.url {
			t.Errorf("%+v: asked was %s%s", test, asked.Host, asked.URL)
		}
	}
}
