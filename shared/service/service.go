// Package service provides what every Imagebatch process needs around its work: signal
// handling, the log, the operations endpoints, an ordered shutdown, the exit code, and
// configuration that reports every mistake at once.
//
// SIGTERM and SIGINT cancel the context of the work, which then has [DrainTime] to
// finish what is in flight. A second signal, or the end of that time, ends the process
// immediately. No work is lost by that; some work is repeated.
package service

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/imagebatch/imagebatch/shared/buildinfo"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// DrainTime is the time that a service has to finish its work after the first signal.
// An orchestrator should wait a little longer before it kills the process.
const DrainTime = 25 * time.Second

// Base is the configuration of every service. A test copies the comments of its
// variables, and those of all other configurations, to docs/configuration.md.
type Base struct {
	// Listening address: of the API in the gateway, and of `/healthz`, `/readyz` and `/metrics` in every service.
	//
	// Default: `:8080` gateway and standalone, `:8081` analyzer, `:8082` processor
	HTTPAddr string `env:"HTTP_ADDR"`
	// Separate address for `/healthz`, `/readyz` and `/metrics`, which are then not served on `HTTP_ADDR`.
	MetricsAddr string `env:"METRICS_ADDR"`
	// `debug`, `info`, `warn` or `error`.
	LogLevel string `env:"LOG_LEVEL" envDefault:"info"`
	// `json` or `text`.
	//
	// Default: `json`; standalone `text`
	LogFormat string `env:"LOG_FORMAT" envDefault:"json"`
}

// OpsAddr returns the address of the operations endpoints.
func (b Base) OpsAddr() string {
	if b.MetricsAddr != "" {
		return b.MetricsAddr
	}
	return b.HTTPAddr
}

// Logger returns the log that the configuration specifies.
func (b Base) Logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(b.LogLevel)); err != nil {
		return nil, fmt.Errorf("LOG_LEVEL %q: want debug, info, warn or error", b.LogLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	switch b.LogFormat {
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	}
	return nil, fmt.Errorf("LOG_FORMAT %q: want json or text", b.LogFormat)
}

// Program is one of the binaries.
type Program struct {
	Name        string
	DefaultAddr string // default of HTTP_ADDR

	// Run does the work until ctx is done. environ is the process's environment as
	// NAME=value lines; it always sets HTTP_ADDR or HTTP_ADDR_FILE.
	Run func(ctx context.Context, environ []string) error

	// Config reads the configuration from the same environment as Run and returns it for
	// [WriteConfig], or an error that lists every mistake.
	Config func(environ []string) (any, error)

	Commands []Command // additional commands

	SpeaksTLS bool // HTTP_ADDR serves TLS if TLS_CERT_FILE is set
}

// Command is an operator command of a program.
type Command struct {
	Name, Summary string

	// Run executes the command and returns the exit code. A signal cancels ctx. args are
	// the arguments after the name, and environ is the same as for [Program.Run].
	Run func(ctx context.Context, args, environ []string) int
}

// Main runs the program and returns its exit code. Without arguments it serves until a
// signal. "health" checks whether a running process is alive, "version" prints the
// build, "config" the effective configuration, and "help" the usage. Commands adds
// further arguments. Unknown arguments, and a configuration that "config" rejects,
// result in exit code 2.
func (p Program) Main(args []string) int {
	if len(args) == 0 {
		return p.serve()
	}
	for _, c := range p.Commands {
		if c.Name == args[0] {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			defer context.AfterFunc(ctx, stop)() // a second signal kills the process
			return c.Run(ctx, args[1:], p.environ())
		}
	}
	own, known := map[string]func() int{
		"health": p.health, "version": p.version, "config": p.config,
		"help": p.help, "-h": p.help, "-help": p.help, "--help": p.help,
	}[args[0]]
	if known && len(args) == 1 {
		return own()
	}
	fmt.Fprintf(os.Stderr, "%s: unknown argument %q\n", p.Name, args[len(args)-1])
	p.usage(os.Stderr)
	return 2
}

func (p Program) help() int {
	p.usage(os.Stdout)
	return 0
}

func (p Program) usage(w io.Writer) {
	line := func(command, does string) {
		// A write error cannot be reported anywhere.
		_, _ = fmt.Fprintf(w, "  %-24s %s\n", strings.TrimSpace(p.Name+" "+command), does)
	}
	_, _ = fmt.Fprintln(w, "usage:")
	line("", "run until a signal; configured by the environment, see docs/configuration.md")
	line("health", "check whether the process on METRICS_ADDR or HTTP_ADDR ("+p.DefaultAddr+") is alive")
	line("version", "print the version, commit, Go version and message versions")
	line("config", "check the environment and print the configuration of the "+p.Name+", without secrets")
	for _, c := range p.Commands {
		line(c.Name, c.Summary)
	}
	line("help", "print this help")
}

func (p Program) version() int {
	fmt.Printf("%s %s\ncommit:   %s\ngo:       %s %s/%s\nmessages: writes version %d, reads %d to %d\n",
		p.Name, buildinfo.Version, buildinfo.Commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH,
		pipeline.Version, pipeline.OldestVersion, pipeline.Version)
	return 0
}

func (p Program) config() int {
	c, err := p.Config(p.environ())
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
		return 2
	}
	if err := WriteConfig(os.Stdout, c, os.Environ()); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
		return 1
	}
	return 0
}

// environ returns the process's environment, which always sets HTTP_ADDR or HTTP_ADDR_FILE.
func (p Program) environ() []string { return Default(os.Environ(), "HTTP_ADDR", p.DefaultAddr) }

func (p Program) serve() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	leaveGarbage()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, p.environ()) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		stop() // a second signal kills the process
		select {
		case err = <-done:
		case <-time.After(DrainTime):
			err = fmt.Errorf("work in flight did not finish within %s", DrainTime)
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
		return 1
	}
	return 0
}

func (p Program) health() int {
	type address struct {
		Base
		TLSCertFile string `env:"TLS_CERT_FILE"`
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	c, err := Load(p.environ(), func(*address) error { return nil })
	if err == nil {
		err = alive(ctx, c.OpsAddr(), p.SpeaksTLS && c.MetricsAddr == "" && c.TLSCertFile != "")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
		return 1
	}
	return 0
}

// alive requests /healthz from the service that listens on addr. It does not verify the
// certificate: the service is on this machine, and the request contains no secret.
func alive(ctx context.Context, addr string, secured bool) error {
	base, err := LocalURL(addr)
	if err != nil {
		return err
	}
	client := http.DefaultClient
	if secured {
		base = strings.Replace(base, "http:", "https:", 1)
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // See above.
		defer transport.CloseIdleConnections()
		client = &http.Client{Transport: transport}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/healthz", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("/healthz returned %s", resp.Status)
	}
	return nil
}
