package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// machine is what the figures were measured on.
type machine struct {
	cpu, kernel, system    string
	cores                  int
	memory                 uint64 // bytes
	rabbitmq, minio        string // versions
	loadBefore, loadAfter  string // of 1, 5 and 15 minutes
	date                   time.Time
	commit                 string
	exiftool, libjpegTurbo string
}

func aboutMachine(ctx context.Context, root string) machine {
	m := machine{cpu: "unknown", cores: runtime.NumCPU(), date: time.Now().UTC(), loadBefore: loadAverage()}
	if info, err := os.Open("/proc/cpuinfo"); err == nil {
		defer info.Close()
		for lines := bufio.NewScanner(info); lines.Scan(); {
			if name, model, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				m.cpu = strings.TrimSpace(model)
				break
			}
		}
	}
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) == nil {
		m.memory = uint64(info.Totalram) * uint64(info.Unit) //nolint:unconvert // Totalram is of another size on 32 bits.
	}
	m.kernel = output(ctx, "uname", "-sr")
	m.system = release()
	m.rabbitmq = output(ctx, "dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server")
	m.exiftool = output(ctx, "exiftool", "-ver")
	m.libjpegTurbo = output(ctx, "dpkg-query", "-W", "-f", "${Version}", "libjpeg-turbo-progs")
	m.commit = output(ctx, "git", "-C", root, "describe", "--always", "--dirty")
	m.minio = output(ctx, "bash", "-c", `. "$0" && pinned minio`, filepath.Join(root, "deployments", "local", "lib.sh"))
	return m
}

// output is what a command prints, or "unknown".
func output(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output() //nolint:gosec // Commands of ours.
	if err != nil || len(out) == 0 {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// variable is the value of a shell variable in a file.
func variable(file, name string) string {
	text, err := os.ReadFile(file)
	if err == nil {
		for line := range strings.Lines(string(text)) {
			if value, ok := strings.CutPrefix(line, name+"="); ok {
				return strings.TrimSpace(value)
			}
		}
	}
	return "unknown"
}

// release is the name of the operating system.
func release() string {
	return strings.Trim(variable("/etc/os-release", "PRETTY_NAME"), `"`)
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	fields := strings.Fields(string(text))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

// markdown tells it, with what else was measured beside our own.
func (m machine) markdown(others ...string) string {
	servers := strings.Join(append([]string{"RabbitMQ " + m.rabbitmq, "MinIO " + m.minio}, others...), ", ")
	return fmt.Sprintf("Measured on %s, commit %s: %s, %d cores, %.0f GiB; %s, %s; %s; %s. Load average before %s, after %s.\n",
		m.date.Format("2006-01-02 15:04 UTC"), m.commit, m.cpu, m.cores, float64(m.memory)/(1<<30), m.system, m.kernel, runtime.Version(),
		servers, m.loadBefore, m.loadAfter)
}
