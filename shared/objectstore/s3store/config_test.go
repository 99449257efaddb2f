package s3store

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

func TestOpenRejectsInvalidConfig(t *testing.T) {
	good := Config{Endpoint: "http://127.0.0.1:9000", AccessKey: "key", SecretKey: "secret", Bucket: "original"}
	for name, spoil := range map[string]func(c *Config){
		"no endpoint":              func(c *Config) { c.Endpoint = "" },
		"endpoint without scheme":  func(c *Config) { c.Endpoint = "127.0.0.1:9000" },
		"endpoint of other scheme": func(c *Config) { c.Endpoint = "s3://bucket" },
		"endpoint with path":       func(c *Config) { c.Endpoint += "/minio" },
		"endpoint with secret":     func(c *Config) { c.Endpoint = "http://key:hunter2@127.0.0.1:9000" },
		"unreadable endpoint":      func(c *Config) { c.Endpoint = "http://key:hunter2@[::1" },
		"half a key":               func(c *Config) { c.SecretKey = "" },
		"other half of a key":      func(c *Config) { c.AccessKey = "" },
		"no bucket":                func(c *Config) { c.Bucket = "" },
		"bucket with capitals":     func(c *Config) { c.Bucket = "Original" },
		"prefix that leads up":     func(c *Config) { c.Prefix = "../" },
		"prefix that is absolute":  func(c *Config) { c.Prefix = "/originals/" },
	} {
		c := good
		spoil(&c)
		s, err := Open(c)
		if err == nil {
			s.Close()
			t.Errorf("Open accepts: %s", name)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error %q contains the password", name, err)
		}
	}
	for _, endpoint := range []string{"http://127.0.0.1:9000", "https://minio.example.com/", "http://[::1]:9000"} {
		c := good
		c.Endpoint, c.Prefix = endpoint, "originals/"
		s, err := Open(c)
		if err != nil {
			t.Errorf("Open rejects %s: %v", endpoint, err)
			continue
		}
		s.Close()
	}
}

// TestRoleWithoutKeys runs as in a container that has a role.
func TestRoleWithoutKeys(t *testing.T) {
	role := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"AccessKeyId":"ROLEKEY","SecretAccessKey":"s","Token":"session","Expiration":%q}`,
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer role.Close()
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", role.URL)
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "")
	t.Setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "")
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		signed := strings.Contains(r.Header.Get("Authorization"), "Credential=ROLEKEY/")
		if !signed || r.Header.Get("X-Amz-Security-Token") != "session" {
			respond(w, http.StatusForbidden, "AccessDenied")
			return true
		}
		return false
	})
	s := opened(t, Config{Endpoint: f.URL, Bucket: "original"}, relaxed)
	if err := s.Put(t.Context(), "a", objectstore.Content{Data: []byte("a"), Type: "text/plain"}); err != nil {
		t.Error(err)
	}

	role.Close()
	roleless := opened(t, Config{Endpoint: f.URL, Bucket: "original"}, quick)
	_, err := roleless.Get(t.Context(), "a")
	expectUnavailable(t, err, "")
	expectUnavailable(t, roleless.Ready(t.Context()), "")
}

// TestOnlyBasicRequests verifies that the store uses only basic requests, because some
// servers support no others.
func TestOnlyBasicRequests(t *testing.T) {
	f := newFake(t, func(_ http.ResponseWriter, r *http.Request) bool {
		for name := range r.URL.Query() {
			switch name {
			case "list-type", "prefix", "delimiter", "encoding-type", "max-keys", "start-after":
			default:
				t.Errorf("%s %s has the parameter %q", r.Method, r.URL, name)
			}
		}
		if r.Method == http.MethodPost || r.Method == http.MethodPut && r.ContentLength < 0 {
			t.Errorf("%s %s has length %d", r.Method, r.URL, r.ContentLength)
		}
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "id/") && len(r.Header.Get("X-Amz-Content-Sha256")) != 64 {
			t.Errorf("a Put without TLS has no checksum: %q", r.Header.Get("X-Amz-Content-Sha256"))
		}
		return false
	})
	f.missing = true
	s := opened(t, Config{
		Endpoint: f.URL, AccessKey: "key", SecretKey: "secret", Bucket: "original", CreateBucket: true,
	}, relaxed)
	for _, name := range []string{"Put", "Stat", "Get", "List", "Delete", "Ready"} {
		if err := calls(s)[name](t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := f.requests.Load(); n != 8 {
		t.Errorf("six calls took %d requests, want 8: one more each to check for the bucket and to create it", n)
	}
}
