package s3store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/roletest"
	"github.com/imagebatch/imagebatch/shared/tlstest"
)

// numbered provides keys 1, 2, 3 and so on, each valid for the given lifetime.
type numbered struct {
	life time.Duration

	mu   sync.Mutex // guards ends
	ends []time.Time
}

func (n *numbered) next() (roletest.Keys, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	end := time.Now().Add(n.life)
	n.ends = append(n.ends, end)
	number := fmt.Sprint(len(n.ends))
	return roletest.Keys{AccessKey: "ROLE" + number, SecretKey: "secret" + number, SessionToken: "session" + number, Expires: end}, nil
}

// signed returns the number of the keys that signed the request, or 0 if they are not
// valid.
func (n *numbered) signed(r *http.Request) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, end := range n.ends {
		if strings.Contains(r.Header.Get("Authorization"), fmt.Sprintf("Credential=ROLE%d/", i+1)) &&
			r.Header.Get("X-Amz-Security-Token") == fmt.Sprintf("session%d", i+1) && time.Now().Before(end) {
			return i + 1
		}
	}
	return 0
}

// platforms set the environment as the platforms do, and return the configuration for
// it.
var platforms = map[string]func(t *testing.T, server string) Role{
	"web identity": func(t *testing.T, server string) Role {
		t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", tokenFile(t))
		t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/imagebatch")
		return Role{Endpoint: server}
	},
	"container": func(t *testing.T, server string) Role {
		t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server+"/container")
		t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", roletest.Token)
		return Role{}
	},
	"pod": func(t *testing.T, server string) Role {
		t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server+"/container")
		t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", tokenFile(t))
		return Role{}
	},
	"instance": func(_ *testing.T, server string) Role {
		return Role{Kind: "the role of the instance", Endpoint: server}
	},
}

func tokenFile(t *testing.T) string {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(roletest.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// withoutRole clears variables that the machine of the test may have.
func withoutRole(t *testing.T) {
	for _, name := range []string{
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_REGION", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
	} {
		t.Setenv(name, "")
	}
}

// onPlatform returns a store with the keys of a role, at a server that sends to seen
// the number of the keys of each request.
func onPlatform(t *testing.T, platform string, roles *roletest.Server, keys *numbered, l limits, seen chan<- int) *Store {
	t.Helper()
	withoutRole(t)
	role := platforms[platform](t, roles.URL)
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		number := keys.signed(r)
		seen <- number
		if number == 0 {
			respond(w, http.StatusForbidden, "ExpiredToken")
		}
		return number == 0
	})
	return opened(t, Config{Endpoint: f.URL, Bucket: "original", Role: role}, l)
}

// TestRoles verifies on every platform that the keys of the role are used, and that new
// keys are requested before the old ones expire.
func TestRoles(t *testing.T) {
	for platform := range platforms {
		t.Run(platform, func(t *testing.T) {
			keys, seen := &numbered{life: time.Hour}, make(chan int, 1<<16)
			roles := roletest.Serve(t, keys.next)
			s := onPlatform(t, platform, roles, keys, relaxed, seen)
			for number := range 3 {
				for range 2 {
					if err := s.Put(t.Context(), "a", objectstore.Content{Data: []byte("a"), Type: "text/plain"}); err != nil {
						t.Fatal(err)
					}
				}
				for len(seen) > 0 {
					if signed := <-seen; signed != number+1 {
						t.Errorf("signed with keys %d, want %d", signed, number+1)
					}
				}
				s.role.mu.Lock()
				if left := s.role.keys.Expiration.Sub(s.role.renew); left < 10*time.Minute {
					t.Errorf("the next keys are requested %s before the old ones expire, want at least 10m", left)
				}
				s.role.renew = time.Now()
				s.role.mu.Unlock()
			}
			if requests := roles.Requests(); requests != 3 {
				t.Errorf("the role got %d requests, want 3", requests)
			}
		})
	}
}

// TestRoleIsRenewedInTime verifies that no request is signed with expired keys, and
// that only one of many concurrent callers requests new keys.
func TestRoleIsRenewedInTime(t *testing.T) {
	keys, seen := &numbered{life: 2 * time.Second}, make(chan int, 1<<16)
	roles := roletest.Serve(t, keys.next)
	s := onPlatform(t, "container", roles, keys, relaxed, seen)
	newest := 0
	for tick := time.NewTicker(20 * time.Millisecond); newest < 2; <-tick.C {
		var calls sync.WaitGroup
		for i := range 8 {
			calls.Go(func() {
				if err := s.Put(t.Context(), fmt.Sprint(i), objectstore.Content{Data: []byte("a"), Type: "text/plain"}); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		for len(seen) > 0 {
			number := <-seen
			if number == 0 {
				t.Fatal("a request was signed with expired keys")
			}
			newest = max(newest, number)
		}
	}
	if requests := roles.Requests(); requests != newest {
		t.Errorf("the role got %d requests for %d keys", requests, newest)
	}
}

// TestRoleThatFails verifies that keys are used until they expire even if the role
// fails, and that the store then reports the reason until the role responds again.
func TestRoleThatFails(t *testing.T) {
	keys, seen := &numbered{life: time.Hour}, make(chan int, 1<<16)
	roles := roletest.Serve(t, keys.next)
	s := onPlatform(t, "web identity", roles, keys, quick, seen)
	if err := s.Put(t.Context(), "a", objectstore.Content{Data: []byte("a"), Type: ""}); err != nil {
		t.Fatal(err)
	}
	roles.SetKeys(func() (roletest.Keys, error) { return roletest.Keys{}, errors.New("not for you") })
	s.role.mu.Lock()
	s.role.renew = time.Now()
	s.role.mu.Unlock()
	for range 3 {
		if err := s.Put(t.Context(), "a", objectstore.Content{Data: []byte("a"), Type: ""}); err != nil {
			t.Errorf("Put with valid keys = %v", err)
		}
	}
	if requests := roles.Requests(); requests != 2 {
		t.Errorf("the role got %d requests, want 2: a failed request must be delayed", requests)
	}

	s.role.mu.Lock()
	s.role.keys.Expiration, s.role.renew = time.Now(), time.Now()
	s.role.mu.Unlock()
	expectAllUnavailable(t, s)
	for name, call := range calls(s) {
		if err := call(t.Context()); err == nil || !strings.Contains(err.Error(), "no access key is configured, and the role provides none: not for you (AccessDenied)") {
			t.Errorf("%s: %v", name, err)
		}
	}
	roles.SetKeys(keys.next)
	if err := s.Put(t.Context(), "a", objectstore.Content{Data: []byte("a"), Type: ""}); err != nil {
		t.Error(err)
	}
}

// TestRoleThatHangs verifies that every call returns in time when the role sends no
// response or only part of it.
func TestRoleThatHangs(t *testing.T) {
	for name, partial := range map[string]string{"no response": "", "partial response": "{"} {
		t.Run(name, func(t *testing.T) {
			end := make(chan struct{})
			roles := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if partial != "" {
					_, _ = w.Write([]byte(partial))
					_ = http.NewResponseController(w).Flush()
				}
				<-end
			}))
			defer roles.Close()
			defer close(end)
			withoutRole(t)
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", roles.URL)
			f := newFake(t, nil)
			s := opened(t, Config{Endpoint: f.URL, Bucket: "original", Role: Role{Kind: "the role of the container"}}, quick)
			expectAllUnavailable(t, s)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			for _, ctx := range []context.Context{t.Context(), ctx} {
				err := s.Ready(ctx)
				expectUnavailable(t, err, "no access key is configured, and the role of the container provides none: ")
			}
			if _, err := s.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Get after the caller's deadline = %v, want context.DeadlineExceeded", err)
			}
		})
	}
}

// TestRoleWhoseKeysAreRejected verifies that new keys are requested when the server no
// longer accepts the old ones.
func TestRoleWhoseKeysAreRejected(t *testing.T) {
	for _, refusal := range keyErrors {
		t.Run(refusal, func(t *testing.T) {
			keys := &numbered{life: time.Hour}
			roles := roletest.Serve(t, keys.next)
			withoutRole(t)
			revoked := 0
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
				if keys.signed(r) > revoked {
					return false
				}
				respond(w, http.StatusForbidden, refusal)
				return true
			})
			s := opened(t, Config{Endpoint: f.URL, Bucket: "original", Role: platforms["container"](t, roles.URL)}, relaxed)
			if err := s.Put(t.Context(), "a", objectstore.Content{Data: nil, Type: ""}); err != nil {
				t.Fatal(err)
			}
			revoked = 1
			s.role.mu.Lock()
			s.role.retrieved = s.role.retrieved.Add(-time.Minute)
			s.role.mu.Unlock()
			if err := s.Put(t.Context(), "a", objectstore.Content{Data: nil, Type: ""}); err != nil {
				t.Error(err)
			}
			if requests := roles.Requests(); requests != 2 {
				t.Errorf("the role got %d requests, want 2", requests)
			}
		})
	}
}

// TestMissingRole verifies that errors contain the platform's response.
func TestMissingRole(t *testing.T) {
	closed := roletest.Serve(t, nil)
	closed.Close()
	for name, test := range map[string]struct {
		set  func(t *testing.T, server string) Role
		want string
	}{
		"no token file": {func(t *testing.T, server string) Role {
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", filepath.Join(t.TempDir(), "none"))
			return Role{Endpoint: server}
		}, "none: no such file or directory"},
		"unknown identity": {func(t *testing.T, server string) Role {
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", tokenFile(t))
			return Role{Endpoint: server} // and no AWS_ROLE_ARN
		}, "No such identity (InvalidIdentityToken)"},
		"container without its token": {func(t *testing.T, server string) Role {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server+"/container")
			return Role{}
		}, "401 Unauthorized"},
		"empty keys": {platforms["container"], "the response has none"},
		"no server":  {func(*testing.T, string) Role { return Role{Endpoint: closed.URL} }, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			withoutRole(t)
			roles := roletest.Serve(t, func() (roletest.Keys, error) { return roletest.Keys{Expires: time.Now().Add(time.Hour)}, nil })
			f := newFake(t, nil)
			s := opened(t, Config{Endpoint: f.URL, Bucket: "original", Role: test.set(t, roles.URL)}, quick)
			for _, err := range []error{s.Ready(t.Context()), s.Put(t.Context(), "a", objectstore.Content{Data: nil, Type: ""})} {
				expectUnavailable(t, err, "no access key is configured, and the role provides none: ")
				if !strings.Contains(err.Error(), strings.TrimPrefix(test.want, "none: ")) {
					t.Errorf("got %v, want the text %q", err, test.want)
				}
			}
			if n := f.requests.Load(); n != 0 {
				t.Errorf("%d requests were sent without keys", n)
			}
		})
	}
}

// TestRoleOverTLS has an STS whose certificate is not signed by a public authority.
func TestRoleOverTLS(t *testing.T) {
	authority := tlstest.NewAuthority(t)
	keys := &numbered{life: time.Hour}
	front := "https://" + authority.Front(strings.TrimPrefix(roletest.Serve(t, keys.next).URL, "http://"))
	withoutRole(t)
	f := newFake(t, nil)
	c := Config{Endpoint: f.URL, Bucket: "original", Role: platforms["web identity"](t, front), Roots: authority.Pool()}
	if err := opened(t, c, relaxed).Put(t.Context(), "a", objectstore.Content{Data: nil, Type: ""}); err != nil {
		t.Error(err)
	}
	c.Roots = tlstest.NewAuthority(t).Pool()
	expectUnavailable(t, opened(t, c, relaxed).Ready(t.Context()), "certificate signed by unknown authority")
}

// TestRoleAtMinIO uses real temporary keys, which are replaced during the test.
func TestRoleAtMinIO(t *testing.T) {
	c := configOf(t, "TEST_S3")
	ours := c
	roles := roletest.Serve(t, func() (roletest.Keys, error) {
		keys, err := roletest.Assume(context.WithoutCancel(t.Context()), ours.Endpoint, ours.AccessKey, ours.SecretKey, "")
		keys.Expires = time.Now().Add(100 * time.Millisecond)
		return keys, err
	})
	withoutRole(t)
	c.Role, c.AccessKey, c.SecretKey = platforms["pod"](t, roles.URL), "", ""
	s := opened(t, c, standard)
	for tick := time.NewTicker(20 * time.Millisecond); roles.Requests() < 4; <-tick.C {
		everyCall(t, s)
	}
}

// everyCall makes each call of the store once.
func everyCall(t *testing.T, s *Store) {
	t.Helper()
	for _, name := range []string{"Ready", "Put", "Stat", "Get", "List", "Delete"} {
		if err := calls(s)[name](t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}
