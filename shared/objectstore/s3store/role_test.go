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

	"github.com/imagebatch/imagebatch/shared/objectstore/roletest"
	"github.com/imagebatch/imagebatch/shared/tlstest"
)

// numbered gives keys 1, 2, 3, each good for so long.
type numbered struct {
	life time.Duration

	mu   sync.Mutex // guards ends
	ends []time.Time
}

func (n *numbered) give() (roletest.Keys, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	end := time.Now().Add(n.life)
	n.ends = append(n.ends, end)
	number := fmt.Sprint(len(n.ends))
	return roletest.Keys{AccessKey: "ROLE" + number, SecretKey: "secret" + number, SessionToken: "session" + number, Expires: end}, nil
}

// signed is the number of the keys that the request is signed with, 0 for none
// that are good.
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

// platforms set the environment as they do, and say what the configuration is then.
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

// withoutRole takes from the environment what this machine may have.
func withoutRole(t *testing.T) {
	for _, name := range []string{
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_REGION", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
	} {
		t.Setenv(name, "")
	}
}

// onPlatform is a store whose keys come of the role, at a server that tells it
// which ones it was signed with.
func onPlatform(t *testing.T, platform string, roles *roletest.Server, keys *numbered, l limits, seen chan<- int) *Store {
	t.Helper()
	withoutRole(t)
	role := platforms[platform](t, roles.URL)
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		number := keys.signed(r)
		seen <- number
		if number == 0 {
			answer(w, http.StatusForbidden, "ExpiredToken")
		}
		return number == 0
	})
	return opened(t, Config{Endpoint: f.URL, Bucket: "original", Role: role}, l)
}

// TestRoles has the keys of a role used on every platform, and others when their
// time has come, which is before they end.
func TestRoles(t *testing.T) {
	for platform := range platforms {
		t.Run(platform, func(t *testing.T) {
			keys, seen := &numbered{life: time.Hour}, make(chan int, 1<<16)
			roles := roletest.Serve(t, keys.give)
			s := onPlatform(t, platform, roles, keys, patient, seen)
			for number := range 3 {
				for range 2 {
					if err := s.Put(t.Context(), "a", []byte("a"), "text/plain"); err != nil {
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
					t.Errorf("the next keys are asked for %s before the end of these", left)
				}
				s.role.renew = time.Now()
				s.role.mu.Unlock()
			}
			if asked := roles.Requests(); asked != 3 {
				t.Errorf("the role was asked %d times, want 3", asked)
			}
		})
	}
}

// TestRoleIsRenewedInTime lets time pass: no request is signed with keys that have
// ended, and of many callers one asks for others.
func TestRoleIsRenewedInTime(t *testing.T) {
	keys, seen := &numbered{life: 2 * time.Second}, make(chan int, 1<<16)
	roles := roletest.Serve(t, keys.give)
	s := onPlatform(t, "container", roles, keys, patient, seen)
	newest := 0
	for tick := time.NewTicker(20 * time.Millisecond); newest < 2; <-tick.C {
		var calls sync.WaitGroup
		for i := range 8 {
			calls.Go(func() {
				if err := s.Put(t.Context(), fmt.Sprint(i), []byte("a"), "text/plain"); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		for len(seen) > 0 {
			number := <-seen
			if number == 0 {
				t.Fatal("a request was signed with keys that had ended")
			}
			newest = max(newest, number)
		}
	}
	if asked := roles.Requests(); asked != newest {
		t.Errorf("the role was asked %d times for the keys up to %d", asked, newest)
	}
}

// TestRoleThatFails has keys stand until they end, whatever becomes of the role, and
// then says what is missing until it answers again.
func TestRoleThatFails(t *testing.T) {
	keys, seen := &numbered{life: time.Hour}, make(chan int, 1<<16)
	roles := roletest.Serve(t, keys.give)
	s := onPlatform(t, "web identity", roles, keys, quick, seen)
	if err := s.Put(t.Context(), "a", []byte("a"), ""); err != nil {
		t.Fatal(err)
	}
	roles.SetKeys(func() (roletest.Keys, error) { return roletest.Keys{}, errors.New("not for you") })
	s.role.mu.Lock()
	s.role.renew = time.Now()
	s.role.mu.Unlock()
	for range 3 {
		if err := s.Put(t.Context(), "a", []byte("a"), ""); err != nil {
			t.Errorf("the keys are good, and Put gives %v", err)
		}
	}
	if asked := roles.Requests(); asked != 2 {
		t.Errorf("the role was asked %d times, want 2: what failed is put off", asked)
	}

	s.role.mu.Lock()
	s.role.keys.Expiration, s.role.renew = time.Now(), time.Now()
	s.role.mu.Unlock()
	expectAllUnavailable(t, s)
	for name, call := range calls(s) {
		if err := call(t.Context()); err == nil || !strings.Contains(err.Error(), "no access key is configured, and the role gives none: not for you (AccessDenied)") {
			t.Errorf("%s: %v", name, err)
		}
	}
	roles.SetKeys(keys.give)
	if err := s.Put(t.Context(), "a", []byte("a"), ""); err != nil {
		t.Error(err)
	}
}

// TestRoleThatHangs bounds every call while the role says nothing, or stops in the
// middle of what it says.
func TestRoleThatHangs(t *testing.T) {
	for name, begins := range map[string]string{"says nothing": "", "stops in the middle": "{"} {
		t.Run(name, func(t *testing.T) {
			end := make(chan struct{})
			roles := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if begins != "" {
					_, _ = w.Write([]byte(begins))
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
				expectUnavailable(t, err, "no access key is configured, and the role of the container gives none: ")
			}
			if _, err := s.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Get whose caller's time is over gives %v", err)
			}
		})
	}
}

// TestRoleWhoseKeysAreRefused has other keys fetched for those that the server does
// not know any more.
func TestRoleWhoseKeysAreRefused(t *testing.T) {
	for _, refusal := range keyFaults {
		t.Run(refusal, func(t *testing.T) {
			keys := &numbered{life: time.Hour}
			roles := roletest.Serve(t, keys.give)
			withoutRole(t)
			revoked := 0
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
				if keys.signed(r) > revoked {
					return false
				}
				answer(w, http.StatusForbidden, refusal)
				return true
			})
			s := opened(t, Config{Endpoint: f.URL, Bucket: "original", Role: platforms["container"](t, roles.URL)}, patient)
			if err := s.Put(t.Context(), "a", nil, ""); err != nil {
				t.Fatal(err)
			}
			revoked = 1
			s.role.mu.Lock()
			s.role.came = s.role.came.Add(-time.Minute)
			s.role.mu.Unlock()
			if err := s.Put(t.Context(), "a", nil, ""); err != nil {
				t.Error(err)
			}
			if asked := roles.Requests(); asked != 2 {
				t.Errorf("the role was asked %d times, want 2", asked)
			}
		})
	}
}

// TestRoleThatIsNone says what the platform answered.
func TestRoleThatIsNone(t *testing.T) {
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
		"token of a stranger": {func(t *testing.T, server string) Role {
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", tokenFile(t))
			return Role{Endpoint: server} // and no AWS_ROLE_ARN
		}, "No such identity (InvalidIdentityToken)"},
		"container without its token": {func(t *testing.T, server string) Role {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server+"/container")
			return Role{}
		}, "401 Unauthorized"},
		"keys that are empty": {platforms["container"], "there is none in the answer"},
		"nobody there":        {func(*testing.T, string) Role { return Role{Endpoint: closed.URL} }, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			withoutRole(t)
			roles := roletest.Serve(t, func() (roletest.Keys, error) { return roletest.Keys{Expires: time.Now().Add(time.Hour)}, nil })
			f := newFake(t, nil)
			s := opened(t, Config{Endpoint: f.URL, Bucket: "original", Role: test.set(t, roles.URL)}, quick)
			for _, err := range []error{s.Ready(t.Context()), s.Put(t.Context(), "a", nil, "")} {
				expectUnavailable(t, err, "no access key is configured, and the role gives none: ")
				if !strings.Contains(err.Error(), strings.TrimPrefix(test.want, "none: ")) {
					t.Errorf("got %v, want it to say %q", err, test.want)
				}
			}
			if n := f.requests.Load(); n != 0 {
				t.Errorf("%d requests went out without a key", n)
			}
		})
	}
}

// TestRoleOverTLS has an STS whose certificate no public authority has signed.
func TestRoleOverTLS(t *testing.T) {
	authority := tlstest.NewAuthority(t)
	keys := &numbered{life: time.Hour}
	front := "https://" + authority.Front(strings.TrimPrefix(roletest.Serve(t, keys.give).URL, "http://"))
	withoutRole(t)
	f := newFake(t, nil)
	c := Config{Endpoint: f.URL, Bucket: "original", Role: platforms["web identity"](t, front), Roots: authority.Pool()}
	if err := opened(t, c, patient).Put(t.Context(), "a", nil, ""); err != nil {
		t.Error(err)
	}
	c.Roots = tlstest.NewAuthority(t).Pool()
	expectUnavailable(t, opened(t, c, patient).Ready(t.Context()), "certificate signed by unknown authority")
}

// TestRoleAtMinIO works with real keys of a session, which are replaced meanwhile.
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

// everyCall makes each call of a store once.
func everyCall(t *testing.T, s *Store) {
	t.Helper()
	for _, name := range []string{"Ready", "Put", "Stat", "Get", "List", "Delete"} {
		if err := calls(s)[name](t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}
