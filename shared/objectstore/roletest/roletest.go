// Package roletest provides keys for S3 as platforms do, for tests of roles: to a
// container, to an instance (IMDSv2 only) and to a web identity (STS). [Assume] creates
// real keys.
package roletest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// Token is the token with which a container and a web identity authenticate.
const Token = "token of the test" //nolint:gosec // G101: Not a real secret.

// Keys are the keys of a role.
type Keys struct {
	AccessKey, SecretKey, SessionToken string
	Expires                            time.Time
}

// Server serves the three platforms at one address: a container uses /container, an
// instance and a web identity use the root.
type Server struct {
	*httptest.Server

	mu       sync.Mutex // guards the fields below
	keys     func() (Keys, error)
	requests int
}

// Serve starts a server that responds with the result of keys, or with 403 on an error.
// The server is closed at the end of the test.
func Serve(t testing.TB, keys func() (Keys, error)) *Server {
	t.Helper()
	s := &Server{keys: keys}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /container", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != Token {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		s.json(w)
	})
	const session = "session of the instance"
	mux.HandleFunc("PUT /latest/api/token", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") == "" {
			http.Error(w, "no time to live", http.StatusBadRequest)
			return
		}
		_, _ = w.Write([]byte(session))
	})
	const credentials = "GET /latest/meta-data/iam/security-credentials/"
	instance := func(respond func(http.ResponseWriter)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Aws-Ec2-Metadata-Token") != session {
				http.Error(w, "no token", http.StatusUnauthorized)
				return
			}
			respond(w)
		}
	}
	mux.HandleFunc(credentials, instance(func(w http.ResponseWriter) { _, _ = w.Write([]byte("imagebatch")) }))
	mux.HandleFunc(credentials+"imagebatch", instance(s.json))
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("Action") != "AssumeRoleWithWebIdentity" || r.PostFormValue("WebIdentityToken") != Token || r.PostFormValue("RoleArn") == "" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprintf(w, failure, "InvalidIdentityToken", "No such identity")
			return
		}
		s.xml(w)
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// SetKeys replaces keys for all further requests.
func (s *Server) SetKeys(keys func() (Keys, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = keys
}

// Requests returns the number of requests for keys.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// next calls keys without the lock, because it may take some time.
func (s *Server) next() (Keys, error) {
	s.mu.Lock()
	s.requests++
	keys := s.keys
	s.mu.Unlock()
	return keys()
}

func (s *Server) json(w http.ResponseWriter) {
	k, err := s.next()
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{ // the client may have disconnected
		"Code": "Success", "AccessKeyId": k.AccessKey, "SecretAccessKey": k.SecretKey, "Token": k.SessionToken,
		"Expiration": k.Expires.UTC().Format(time.RFC3339Nano),
	})
}

const failure = `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Code>%s</Code><Message>%v</Message></Error></ErrorResponse>`

func (s *Server) xml(w http.ResponseWriter) {
	k, err := s.next()
	if err != nil {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, failure, "AccessDenied", err)
		return
	}
	_, _ = fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
		k.AccessKey, k.SecretKey, k.SessionToken, k.Expires.UTC().Format(time.RFC3339Nano))
}
