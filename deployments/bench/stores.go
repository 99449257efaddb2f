package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// stores are the S3 servers that are compared: the names of their programs, and the variables with their endpoints.
var stores = []struct{ name, endpoint string }{
	{"minio", "TEST_S3_ENDPOINT"},
	{"versitygw", "TEST_VERSITYGW_ENDPOINT"},
}

// compareStores measures the services on each S3 server in turn, and compares it with the first one. Each round
// starts the services again; the servers run all the time.
func compareStores(ctx context.Context, root, dir string, p pairs) (_ string, err error) {
	s, err := newSystem(ctx, root, dir)
	if err != nil {
		return "", err
	}
	photos, err := s.draw(ctx, wanted[0])
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, p.whole)
	defer cancel()
	machine := aboutMachine(ctx, s.root)
	progress("starting the servers")
	defer func() { err = errors.Join(err, s.stop(ctx)) }()
	var variants []*variant
	for _, store := range stores {
		v, err := s.on(ctx, store.name, store.endpoint)
		if err != nil {
			return "", err
		}
		variants = append(variants, v)
	}
	started := time.Now()
	for n := 0; n < p.rounds && (n == 0 || time.Since(started) < p.limit); n++ {
		if err := inTurn(n, variants, func(v *variant) error {
			progress("round %d of %d: %s", n+1, p.rounds, v.name)
			return v.round(ctx, photos[0], p)
		}); err != nil {
			return "", err
		}
	}
	machine.programs += ", versitygw " + s.pinned(ctx, "versitygw")
	machine.loadAfter = loadAverage(ctx)
	table, err := benchstat(ctx, variants...)
	return fmt.Sprintf("%s\n```text\n%s```\n", machine.markdown(), table), err
}

// on starts a store, and returns a variant of the system that uses it, with a virtual host and jobs of its own.
func (s *system) on(ctx context.Context, store, endpoint string) (*variant, error) {
	vars, err := s.startServers(ctx, store)
	if err != nil {
		return nil, err
	}
	own := systemAt(s.root, s.dir)
	own.pids = maps.Clone(s.pids)
	own.env = append(slices.Clip(s.env), "S3_ENDPOINT="+vars[endpoint], "DATA_DIR="+filepath.Join(s.dir, "gateway", store))
	v := &variant{own, store, filepath.Join(s.dir, store+".txt")}
	if err := v.separate(ctx, s, store); err != nil {
		return nil, err
	}
	return v, v.begin(fmt.Sprintf("goos: %s\ngoarch: %s\n%s", runtime.GOOS, runtime.GOARCH, units))
}

// pinned returns the version of a program that go.mod pins.
func (s *system) pinned(ctx context.Context, program string) string {
	return output(ctx, fmt.Sprintf(". %s/deployments/local/lib.sh; pinned %s", s.root, program))
}

// separate gives the services a virtual host of their own: two job stores must not share the queues, and two versions may
// declare them differently.
func (v *variant) separate(ctx context.Context, s *system, vhost string) error {
	for _, args := range [][]string{{"add_vhost", vhost}, {"set_permissions", "-p", vhost, "guest", ".*", ".*", ".*"}} {
		if out, err := exec.CommandContext(ctx, filepath.Join(s.dir, "servers", "rabbitmqctl"), args...).CombinedOutput(); err != nil { //nolint:gosec // The script is ours.
			return fmt.Errorf("rabbitmqctl %s: %w: %s", args[0], err, out)
		}
	}
	v.env = append(v.env, "RABBITMQ_URL="+s.broker+vhost)
	return nil
}
