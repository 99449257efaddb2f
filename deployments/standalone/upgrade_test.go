package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// nextRelease builds the services once as a next release, which raises the message version
// and adds a database migration.
var nextRelease = sync.OnceValues(func() (dir string, err error) {
	top, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	const migration = "2999-01-01_mood.sql"
	message := filepath.Join(top, "shared", "pipeline", "message.go")
	source, err := os.ReadFile(message)
	if err != nil {
		return "", err
	}
	raised := bytes.Replace(source, fmt.Appendf(nil, "\nconst Version = %d\n", pipeline.Version), fmt.Appendf(nil, "\nconst Version = %d\n", pipeline.Version+1), 1)
	if bytes.Equal(raised, source) {
		return "", fmt.Errorf("no version found in %s", message)
	}
	dir = filepath.Join(builds, "next")
	if err := os.Mkdir(dir, 0o750); err != nil {
		return "", err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for file, text := range map[string]string{
		message: string(raised),
		filepath.Join(top, "gateway", "internal", "job", "sqlstore", "migrations", "sqlite", migration): "ALTER TABLE jobs ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm';",
	} {
		overlay.Replace[file] = filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(overlay.Replace[file], []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return "", err
	}
	if err := build(dir, "-overlay", file, base+"gateway/cmd/gateway", base+"analyzer/cmd/analyzer", base+"processor/cmd/processor"); err != nil {
		return "", err
	}
	program, err := os.ReadFile(filepath.Join(dir, "gateway"))
	if err == nil && !bytes.Contains(program, []byte(migration)) {
		err = fmt.Errorf("the next release has no migration %s", migration)
	}
	return dir, err
})

// fleet contains the three services. Each can be replaced by another release.
type fleet struct {
	t         *testing.T
	old, next string
	env       []string
	broker    string
	running   map[string]*process
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	t.Parallel()
	broker := ownVhost(t)
	old, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	next, err := nextRelease()
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, old: old, next: next, env: serverEnv(t, broker), broker: broker, running: map[string]*process{}}
	for _, name := range []string{"gateway", "analyzer", "processor"} {
		f.running[name] = launchFrom(t, old, name, f.env...)
	}
	return f
}

func (f *fleet) system() *system { return &system{f.running["gateway"], nil} }

// replace replaces a service by the one in the folder. A worker is started before the old one
// is stopped. The gateway, which locks its file, is started afterwards on the same address.
// It returns how often the old process parked a message.
func (f *fleet) replace(name, dir string) (parked int) {
	f.t.Helper()
	before := f.running[name]
	if name != "gateway" {
		f.running[name] = launchFrom(f.t, dir, name, f.env...)
	}
	if before.done != nil {
		parked = before.parked(f.t)
		if err := before.end(syscall.SIGTERM); err != nil {
			f.t.Errorf("%s: %v", name, err)
		}
	}
	if name == "gateway" {
		before.name = filepath.Join(dir, name)
		before.start()
		before.awaitReady()
	}
	return parked
}

// parked returns how often the process has parked a message whose version it cannot read.
func (p *process) parked(t *testing.T) (n int) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^imagebatch_stage_messages_total\{outcome="unknown_version",.*\} (\d+)$`).FindAllStringSubmatch(p.scrape(t), -1) {
		count, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		n += count
	}
	return n
}

// load posts batches until stop is called, which returns the accepted jobs. Each batch waits at most a second for the
// end of the previous one: a slow machine gets less load instead of a backlog.
func (s *system) load(t *testing.T) (stop func() []string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"images": []map[string]string{inline("a.jpg", photo(t)), inline("b.png", goImage(t, "video-001.png"))}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	request := func(method, path string, body []byte) (now jobResponse, ok bool) {
		req, err := http.NewRequestWithContext(ctx, method, s.url(path), bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return now, false
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return now, false // the gateway is being replaced
		}
		defer resp.Body.Close()
		err = json.NewDecoder(resp.Body).Decode(&now)
		return now, err == nil && resp.StatusCode < 300
	}
	var accepted []string
	var work sync.WaitGroup
	work.Go(func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for waited := 0; ctx.Err() == nil; <-tick.C {
			if len(accepted) > 0 && waited < 4 {
				if now, ok := request(http.MethodGet, "/api/v1/batch/"+accepted[len(accepted)-1], nil); !ok || rank(now.Status) < 2 {
					waited++
					continue
				}
			}
			waited = 0
			if created, ok := request(http.MethodPost, "/api/v1/batch", body); ok {
				accepted = append(accepted, created.JobID)
			}
		}
	})
	return func() []string {
		cancel()
		work.Wait()
		return accepted
	}
}

func (s *system) allComplete(t *testing.T, jobs []string) {
	t.Helper()
	for _, id := range jobs {
		if got := s.ended(t, id); got.Status != "completed" || got.Failed > 0 {
			t.Errorf("job %+v", got)
		}
	}
}

// TestUpgrade upgrades the services to the next release under load, in the order of
// docs/operations.md. It verifies that no job is lost and no message is parked. Then it rolls
// back as documented, with messages in flight that the old release cannot read.
func TestUpgrade(t *testing.T) {
	f := newFleet(t)
	stop := f.system().load(t)
	f.system().ended(t, f.system().submit(t, inline("first.jpg", photo(t)))) // so that the pipeline is working
	parked := 0
	for _, name := range []string{"processor", "analyzer", "gateway"} {
		parked += f.replace(name, f.next)
		f.system().ended(t, f.system().submit(t, inline("between.jpg", photo(t))))
	}
	jobs := stop()
	f.system().allComplete(t, jobs)
	for _, p := range f.running {
		parked += p.parked(t)
	}
	if parked != 0 || len(jobs) < 5 {
		t.Errorf("%d jobs, %d parked messages; want at least 5 and none", len(jobs), parked)
	}

	for _, name := range []string{"analyzer", "processor"} {
		if err := f.running[name].end(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
	id := f.system().submit(t, inline("late.jpg", photo(t)))
	await(t, func() (bool, string) {
		return strings.Contains(f.running["gateway"].scrape(t), "\nimagebatch_unsent_uploads 0\n"), "not sent"
	})
	for _, name := range []string{"gateway", "analyzer", "processor"} {
		f.replace(name, f.old)
	}
	await(t, func() (bool, string) { return f.running["analyzer"].parked(t) > 0, "no message is parked" })
	for _, name := range []string{"gateway", "analyzer", "processor"} {
		if err := f.running[name].end(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
	procedure := pick(t, examples(t, operations), "Roll back to the previous release", "sh")
	procedure = strings.NewReplacer("rabbitmqctl", os.Getenv("TEST_RABBITMQCTL"), "--vhost /", "--vhost "+vhostOf(f.broker)).Replace(procedure)
	t.Log(execute(t, procedure, "bash"))
	for _, name := range []string{"gateway", "analyzer", "processor"} {
		f.running[name].start()
		f.running[name].awaitReady()
	}
	f.system().allComplete(t, append(jobs, id))
}

// TestUpgradeInAnotherOrder replaces the gateway first. It verifies that messages which the
// other services cannot read yet wait for them, and that no image fails.
func TestUpgradeInAnotherOrder(t *testing.T) {
	f := newFleet(t)
	f.replace("gateway", f.next)
	id := f.system().submit(t, inline("early.jpg", photo(t)))
	for _, name := range []string{"analyzer", "processor"} {
		await(t, func() (bool, string) { return f.running[name].parked(t) > 0, name + " has parked no message" })
		f.replace(name, f.next)
	}
	f.system().allComplete(t, []string{id})
}
