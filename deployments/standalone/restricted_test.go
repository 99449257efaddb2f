package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/objectstore/roletest"
	"github.com/imagebatch/imagebatch/shared/objectstore/s3store"
)

// services are the three services, in the order of docs/operations.md.
var services = []string{"gateway", "analyzer", "processor"}

// restricted contains the services. Each has a RabbitMQ user and an S3 role with exactly the
// permissions in docs/operations.md.
type restricted struct {
	*system
	originals, processed place
	roles                map[string]*leastRole
	users                map[string]*url.URL // of the broker, each with its vhost
	parts                map[string]*process
}

// place is a location of objects.
type place struct{ bucket, prefix string }

// all returns a store for the bucket and the prefix, with all permissions.
func (p place) all(t *testing.T) *s3store.Store {
	t.Helper()
	s, err := s3store.Open(s3store.Config{
		Endpoint: os.Getenv("TEST_S3_ENDPOINT"), AccessKey: os.Getenv("TEST_S3_ACCESS_KEY"), SecretKey: os.Getenv("TEST_S3_SECRET_KEY"),
		Bucket: p.bucket, Prefix: p.prefix, PathStyle: true, CreateBucket: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// keys returns the keys of all objects under the prefix.
func (p place) keys(t *testing.T) (keys []string) {
	t.Helper()
	for info, err := range p.all(t).List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// leastRole issues keys with the permissions of the service's policy. The keys expire soon, so
// that a changed policy takes effect.
type leastRole struct {
	*roletest.Server
	rights []right

	mu     sync.Mutex // guards policy
	policy string
}

// right is one action on one resource.
type right struct{ Action, Resource string }

// write returns a policy with the rights.
func write(rights []right) string {
	var statements []map[string]any
	for _, r := range rights {
		statements = append(statements, map[string]any{"Effect": "Allow", "Action": []string{r.Action}, "Resource": []string{r.Resource}})
	}
	text, _ := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements}) // strings in maps
	return string(text)
}

func (r *leastRole) give(ctx context.Context) (roletest.Keys, error) {
	r.mu.Lock()
	policy := r.policy
	r.mu.Unlock()
	keys, err := roletest.Assume(ctx, os.Getenv("TEST_S3_ENDPOINT"), os.Getenv("TEST_S3_ACCESS_KEY"), os.Getenv("TEST_S3_SECRET_KEY"), policy)
	keys.Expires = time.Now().Add(300 * time.Millisecond)
	return keys, err
}

// allow changes the policy for the keys issued from now on.
func (r *leastRole) allow(rights []right) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.policy = write(rights)
}

// startRole starts a role with a documented policy, for the test's places.
func startRole(t *testing.T, name string, originals, processed place) *leastRole {
	t.Helper()
	const arn = "arn:aws:s3:::"
	text := strings.NewReplacer(
		arn+"original/", arn+originals.bucket+"/"+originals.prefix, arn+"original", arn+originals.bucket,
		arn+"processed/", arn+processed.bucket+"/"+processed.prefix, arn+"processed", arn+processed.bucket,
	).Replace(string(readFile(t, "../s3/"+name+".json")))
	var policy struct {
		Statement []struct{ Action, Resource []string }
	}
	decode(t, text, &policy)
	r := &leastRole{policy: text}
	for _, statement := range policy.Statement {
		for _, action := range statement.Action {
			for _, resource := range statement.Resource {
				r.rights = append(r.rights, right{action, resource})
			}
		}
	}
	ctx := context.WithoutCancel(t.Context()) // The services are stopped in a cleanup.
	r.Server = roletest.Serve(t, func() (roletest.Keys, error) { return r.give(ctx) })
	return r
}

// restrictedBroker creates a vhost and three users with the commands in docs/operations.md.
// declared: an operator declares the queues instead of the gateway. It returns the URL for
// each service.
func restrictedBroker(t *testing.T, declared bool) map[string]string {
	t.Helper()
	vhost := "permissions-" + rand.Text()
	var making, permitting, importing string
	for _, e := range examples(t, "../../docs/operations.md") {
		switch {
		case e.section != "RabbitMQ":
		case strings.Contains(e.text, "add_vhost"):
			making = e.text
		case strings.Contains(e.text, "set_permissions") && permitting == "":
			permitting = e.text
		case strings.Contains(e.text, "import_definitions"):
			importing = e.text
		}
	}
	file := filepath.Join(t.TempDir(), "definitions.json")
	names := strings.NewReplacer(`"imagebatch"`, `"`+vhost+`"`, `"imagebatch-`, `"`+vhost+`-`,
		"--vhost imagebatch", "--vhost "+vhost, "add_vhost imagebatch", "add_vhost "+vhost, " imagebatch-", " "+vhost+"-",
		"deployments/rabbitmq/definitions.json", file)
	if err := os.WriteFile(file, []byte(names.Replace(string(readFile(t, "../rabbitmq/definitions.json")))), 0o600); err != nil {
		t.Fatal(err)
	}
	script := making + permitting
	if declared {
		script = making + importing
	}
	var remove []string
	users := map[string]string{}
	for _, service := range services {
		u, err := url.Parse(os.Getenv("TEST_RABBITMQ_URL"))
		if err != nil {
			t.Fatal(err)
		}
		user := vhost + "-" + service
		u.User, u.Path = url.UserPassword(user, "secret"), "/"+vhost
		users[service] = u.String()
		remove = append(remove, fmt.Sprintf(`catch rabbit_auth_backend_internal:delete_user(<<%q>>, <<"test">>)`, user))
	}
	remove = append(remove, fmt.Sprintf(`catch rabbit_vhost:delete(<<%q>>, <<"test">>)`, vhost))
	t.Cleanup(func() { operate(t, `rabbitmqctl eval '`+strings.Join(remove, ", ")+`.'`) })
	operate(t, names.Replace(script))
	return users
}

// operate runs commands of rabbitmqctl, with the same password for every prompt.
func operate(t *testing.T, script string) {
	t.Helper()
	const tool = `rabbitmqctl() { echo secret | "$TEST_RABBITMQCTL" "$@"; }` + "\n"
	ctx := context.WithoutCancel(t.Context())                                                                             // Cleanups run after t.Context() is done.
	if out, err := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", tool+script).CombinedOutput(); err != nil { //nolint:gosec // The document is ours.
		t.Fatalf("%s\n%v\n%s", script, err, out)
	}
}

// startRestricted starts the services. declared: an operator declares the queues. env, if any, turns captions on.
func startRestricted(t *testing.T, declared bool, originals, processed place, env ...string) *restricted {
	t.Helper()
	if os.Getenv("TEST_RABBITMQ_URL") == "" || os.Getenv("TEST_S3_ENDPOINT") == "" || os.Getenv("TEST_RABBITMQCTL") == "" {
		t.Skip("TEST_RABBITMQ_URL, TEST_RABBITMQCTL and TEST_S3_ENDPOINT are not set")
	}
	for _, p := range []place{originals, processed} {
		if err := p.all(t).Ready(t.Context()); err != nil { // creates the bucket
			t.Fatal(err)
		}
	}
	r := &restricted{originals: originals, processed: processed, roles: map[string]*leastRole{}, users: map[string]*url.URL{}, parts: map[string]*process{}}
	users := restrictedBroker(t, declared)
	for _, service := range services {
		policy := service
		if service == "analyzer" && len(env) > 0 {
			policy = "analyzer-captions"
		}
		r.roles[service] = startRole(t, policy, originals, processed)
		var err error
		if r.users[service], err = url.Parse(users[service]); err != nil {
			t.Fatal(err)
		}
		r.parts[service] = launch(t, service, append(env, "RABBITMQ_URL="+users[service], fmt.Sprintf("RABBITMQ_DECLARE=%v", !declared),
			"S3_ENDPOINT="+os.Getenv("TEST_S3_ENDPOINT"), "S3_BUCKET_ORIGINAL="+originals.bucket, "S3_PREFIX_ORIGINAL="+originals.prefix,
			"S3_BUCKET_PROCESSED="+processed.bucket, "S3_PREFIX_PROCESSED="+processed.prefix,
			"AWS_CONTAINER_CREDENTIALS_FULL_URI="+r.roles[service].URL+"/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN="+roletest.Token,
			"DATA_DIR="+t.TempDir(), "DOWNLOAD_ALLOW_NETWORKS=127.0.0.0/8", "JOB_RETENTION=5s", "RESULT_RETENTION=5s")...)
	}
	r.system = &system{r.parts["gateway"], []*process{r.parts["gateway"], r.parts["analyzer"], r.parts["processor"]}}
	return r
}

// settled waits until each store of the service has requested new keys after this call; a
// store requests keys when it is used.
func (r *restricted) settled(t *testing.T, service string) {
	t.Helper()
	before := r.roles[service].Requests()
	await(t, func() (bool, string) {
		said := readyz(t, r.parts[service])
		return r.roles[service].Requests() >= before+4, said
	})
}

// readyz returns the error that the process reports at /readyz.
func readyz(t *testing.T, p *process) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url("/readyz"), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil {
		return err.Error()
	}
	var response struct{ Error string }
	if err := json.Unmarshal(text.Bytes(), &response); err != nil {
		return text.String()
	}
	return response.Error
}
