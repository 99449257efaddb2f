package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// machine describes the machine and the programs of a measurement.
type machine struct {
	hardware, programs, commit string
	date                       time.Time
	loadBefore, loadAfter      string // load averages of 1, 5 and 15 minutes
}

func aboutMachine(ctx context.Context, root string) machine {
	return machine{
		date: time.Now().UTC(), commit: output(ctx, "git -C "+root+" describe --always --dirty"), loadBefore: loadAverage(ctx),
		hardware: output(ctx, `. /etc/os-release
			printf '%s, %s cores, %s GiB; %s, %s' "$(sed -n '/^model name/{s/.*: //p;q}' /proc/cpuinfo)" "$(nproc)" \
				"$(awk '/^MemTotal/ { printf "%.0f", $2 / 2^20 }' /proc/meminfo)" "$PRETTY_NAME" "$(uname -sr)"`),
		programs: output(ctx, ". "+root+`/deployments/local/lib.sh
			if packaged; then of=/; else of=${debian_bin%bin}root; fi
			printf 'RabbitMQ %s, MinIO %s' "$(dpkg-query --root="$of" -W -f '${Version}' rabbitmq-server)" "$(pinned minio)"`),
	}
}

// version returns the version of an installed Debian package.
func version(ctx context.Context, name string) string {
	return output(ctx, "dpkg-query -W -f '${Version}' "+name)
}

func loadAverage(ctx context.Context) string { return output(ctx, "cut -d ' ' -f 1-3 /proc/loadavg") }

// output returns what a shell script prints, or "unknown".
func output(ctx context.Context, script string) string {
	out, err := exec.CommandContext(ctx, "bash", "-c", script).Output() //nolint:gosec // The scripts are constants.
	if err != nil || len(out) == 0 {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func (m machine) markdown() string {
	return fmt.Sprintf("Measured on %s, commit %s: %s; %s; %s. Load average before %s, after %s.\n",
		m.date.Format("2006-01-02 15:04 UTC"), m.commit, m.hardware, runtime.Version(), m.programs, m.loadBefore, m.loadAfter)
}

// ofEach calls read for each process of the system.
func ofEach[T any](s *system, read func(procfs.Proc) (T, error)) (map[string]T, error) {
	all := map[string]T{}
	for _, name := range processes {
		p, err := procfs.NewProc(s.pids[name])
		if err == nil {
			all[name], err = read(p)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return all, nil
}

// spent returns the CPU time, user and system, that the process and the children
// that it has waited for have used so far.
func spent(p procfs.Proc) (time.Duration, error) {
	const tick = time.Second / 100 // USER_HZ, the same on every architecture that Go runs on
	stat, err := p.Stat()
	return tick * time.Duration(int(stat.UTime+stat.STime)+stat.CUTime+stat.CSTime), err
}

// forgetPeak resets the peak of the resident memory (see proc(5), clear_refs).
func forgetPeak(p procfs.Proc) (struct{}, error) {
	return struct{}{}, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.PID), []byte("5"), 0)
}

// ownTime returns the CPU time of this process and of the children that it has waited for.
func ownTime() time.Duration {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var used syscall.Rusage
		if syscall.Getrusage(who, &used) == nil { // it fails only for an unknown who
			sum += time.Duration(used.Utime.Nano() + used.Stime.Nano())
		}
	}
	return sum
}
