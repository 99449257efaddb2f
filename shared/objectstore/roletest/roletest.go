// Package roletest hands out keys for S3 as platforms do, for the tests of roles: to
// a container, to an instance (IMDSv2 only) and to a web identity (STS). Real keys
// for it come of [Assume].
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

// Token is what a container and a web identity show.
const Token = "token of the test" //nolint:gosec // G101: of no use elsewhere.

// Keys are the keys of a role.
type Keys struct {
	AccessKey, SecretKey, SessionToken string
	Expires                            time.Time
}

// Server is the three platforms at one address: a container is sent to /container,
// an instance and a web identity to the root.
type Server struct {
	*httptest.Server

	mu    sync.Mutex // guards what follows
	give  func() (Keys, error)
	asked int
}

// Serve gives what give gives, and 403 where that is an error. It ends with the test.
func Serve(t testing.TB, give func() (Keys, error)) *Server {
	t.Helper()
	s := &Server{give: give}
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
	instance := func(answer func(http.ResponseWriter)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Aws-Ec2-Metadata-Token") != session {
				http.Error(w, "no token", http.StatusUnauthorized)
				return
			}
			answer(w)
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

// Give changes what is given from now on.
func (s *Server) Give(give func() (Keys, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.give = give
}

// Asked is how often it was asked for keys.
func (s *Server) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// next calls give without the lock, so that it may take its time.
func (s *Server) next() (Keys, error) {
	s.mu.Lock()
	s.asked++
	give := s.give
	s.mu.Unlock()
	return give()
}

func (s *Server) json(w http.ResponseWriter) {
	k, err := s.next()
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{ // the client may be gone
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
