package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/imagebatch/imagebatch/deployments/network"
)

// stores are the S3 servers that are compared: the names of their programs, and the variables with their endpoints.
var stores = []struct{ name, endpoint string }{
	{"minio", "TEST_S3_ENDPOINT"},
	{"versitygw", "TEST_VERSITYGW_ENDPOINT"},
	{"seaweedfs", "TEST_SEAWEEDFS_ENDPOINT"},
}

// compareStores measures the services on each S3 server.
func compareStores(ctx context.Context, root, dir string, p pairs) (string, error) {
	return compareInTurn(ctx, root, dir, p, func(ctx context.Context, s *system, about *machine) (variants []*variant, err error) {
		for _, store := range stores[1:] { // MinIO is in each comparison.
			about.programs += fmt.Sprintf(", %s %s", store.name, s.pinned(ctx, store.name))
		}
		for _, store := range stores {
			v, err := s.on(ctx, store.name, store.name, store.endpoint)
			if err != nil {
				return nil, err
			}
			variants = append(variants, v)
		}
		return variants, nil
	})
}

// roundTrips are the round trips between the services and their servers that are compared.
var roundTrips = []time.Duration{0, 2 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond}

// compareRoundTrips measures the services with servers at these distances, in a simulated network.
func compareRoundTrips(ctx context.Context, root, dir string, p pairs, roundTrips []time.Duration) (_ string, err error) {
	w, err := network.New(1)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	return compareInTurn(ctx, root, dir, p, func(ctx context.Context, s *system, _ *machine) (variants []*variant, err error) {
		place := filepath.Join(s.dir, "servers", "place")
		text := fmt.Sprintf("netns=%s address=%s base=5670 rabbitmq_peers=(%[2]s)\n", w.Namespace(1), w.Addr(1))
		if err := errors.Join(os.MkdirAll(filepath.Dir(place), 0o750), os.WriteFile(place, []byte(text), 0o600)); err != nil {
			return nil, err
		}
		for _, roundTrip := range roundTrips {
			v, err := s.on(ctx, roundTrip.String(), "minio", "TEST_S3_ENDPOINT")
			if err != nil {
				return nil, err
			}
			v.before = func() { w.Distance(1, roundTrip) }
			variants = append(variants, v)
		}
		return variants, nil
	})
}

// compareInTurn measures the variants of a system in turn, and compares each with the first one. Each round
// starts the services again; the servers run all the time.
func compareInTurn(
	ctx context.Context, root, dir string, p pairs, start func(context.Context, *system, *machine) ([]*variant, error),
) (_ string, err error) {
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
	variants, err := start(ctx, s, &machine)
	if err != nil {
		return "", err
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
	machine.loadAfter = loadAverage(ctx)
	table, err := benchstat(ctx, variants...)
	return fmt.Sprintf("%s\n```text\n%s```\n", machine.markdown(), table), err
}

// on starts a store, and returns a variant of the system that uses it, with a virtual host and jobs of its own.
func (s *system) on(ctx context.Context, name, store, endpoint string) (*variant, error) {
	vars, err := s.startServers(ctx, store)
	if err != nil {
		return nil, err
	}
	own := systemAt(s.root, s.dir)
	own.pids = maps.Clone(s.pids)
	own.env = append(slices.Clip(s.env), "S3_ENDPOINT="+vars[endpoint], "DATA_DIR="+filepath.Join(s.dir, "gateway", name))
	v := &variant{system: own, name: name, results: filepath.Join(s.dir, name+".txt")}
	if err := v.separate(ctx, s, name); err != nil {
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
