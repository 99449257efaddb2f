package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestServerThatDoesNotStart verifies that servers.sh reports a RabbitMQ that ends at once, and
// leaves none of the processes that it has started.
func TestServerThatDoesNotStart(t *testing.T) {
	t.Parallel()
	if os.Getenv("TEST_RABBITMQCTL") == "" {
		t.Skip("TEST_RABBITMQCTL is not set")
	}
	dir, bin := t.TempDir(), t.TempDir()
	broken := "#!/bin/sh\necho 'no such broker'\nexit 3\n"
	if err := os.WriteFile(filepath.Join(bin, "rabbitmq-server"), []byte(broken), 0o755); err != nil { //nolint:gosec // It is executed.
		t.Fatal(err)
	}
	const script = `. deployments/local/lib.sh
		epmd=$(rabbitmq_bin)/epmd
		ln -s "$([[ -x $epmd ]] && echo "$epmd" || command -v epmd)" "$1/epmd"
		RABBITMQ_BIN=$1 deployments/local/servers.sh start "$2" rabbitmq`
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euc", script, "bash", bin, dir) //nolint:gosec // The script is ours.
	cmd.Dir = "../.."
	out, err := cmd.CombinedOutput()
	if err == nil || ctx.Err() != nil || !strings.Contains(string(out), "rabbitmq has ended") || !strings.Contains(string(out), "no such broker") {
		t.Errorf("servers.sh: %v, %s\nwant an error with the end of RabbitMQ's log", err, out)
	}
	left, err := filepath.Glob(filepath.Join(dir, "run", "*.pid"))
	if err != nil || len(left) > 0 {
		t.Errorf("processes left behind: %v, %v", left, err)
	}
}
