// Package service is what every process of Imagebatch has around its work: the
// signals, the log, the operator's endpoints, the order of the teardown, the
// exit code, and configuration that reports every mistake at once.
//
// SIGTERM and SIGINT end the context of the work; it has [DrainTime] to finish
// what it has in hand. A second signal, or the end of that time, ends the
// process as it is: nothing is lost by that, some work is done again.
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

// DrainTime is what a service has to finish after the first signal; an
// orchestrator should wait a little longer before it kills.
const DrainTime = 25 * time.Second

// Base is the configuration that every service has. The comments of its variables,
// and of those of every other configuration, are what docs/configuration.md says of
// them: a test writes them there.
type Base struct {
	// Where the service answers: the gateway its API, all of them `/healthz`, `/readyz` and `/metrics`.
	//
	// Default: `:8080` gateway and standalone, `:8081` analyzer, `:8082` processor
	HTTPAddr string `env:"HTTP_ADDR"`
	// Another address for `/healthz`, `/readyz` and `/metrics`, which are then not on `HTTP_ADDR`.
	MetricsAddr string `env:"METRICS_ADDR"`
	// `debug`, `info`, `warn` or `error`.
	LogLevel string `env:"LOG_LEVEL" envDefault:"info"`
	// `json` or `text`.
	//
	// Default: `json`; standalone `text`
	LogFormat string `env:"LOG_FORMAT" envDefault:"json"`
}

// OpsAddr is where the operator's endpoints answer.
func (b Base) OpsAddr() string {
	if b.MetricsAddr != "" {
		return b.MetricsAddr
	}
	return b.HTTPAddr
}

// Logger makes the log that the configuration asks for.
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
	DefaultAddr string // of HTTP_ADDR

	// Run does the work until ctx ends. It gets the process's environment as
	// NAME=value lines, with HTTP_ADDR always in it, if by a file.
	Run func(ctx context.Context, environ []string) error

	// Config reads the configuration of the same environment as Run does and returns
	// it for [WriteConfig], or everything that is wrong with it.
	Config func(environ []string) (any, error)

	Commands []Command // what else it can do, if anything

	SpeaksTLS bool // on HTTP_ADDR, where TLS_CERT_FILE is set
}

// Command is something that a program does for an operator, beside its work.
type Command struct {
	Name, Summary string

	// Run does it until ctx ends, at a signal, and returns the exit code. It gets the
	// arguments after the name and what [Program.Run] gets.
	Run func(ctx context.Context, args, environ []string) int
}

// Main runs the program and returns its exit code. Without arguments it runs
// until a signal; "health" asks a running one whether it is alive; "version" tells
// of the build, "config" how the environment configures it, and "help" what there
// is. What else there is stands in Commands. Arguments that nothing takes end it
// with 2, as does a configuration that "config" finds wrong.
func (p Program) Main(args []string) int {
	if len(args) == 0 {
		return p.serve()
	}
	for _, c := range p.Commands {
		if c.Name == args[0] {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			defer context.AfterFunc(ctx, stop)() // a second signal kills
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
		// Where it can't be written nobody reads it.
		_, _ = fmt.Fprintf(w, "  %-24s %s\n", strings.TrimSpace(p.Name+" "+command), does)
	}
	_, _ = fmt.Fprintln(w, "usage:")
	line("", "run until a signal; configured by the environment, see docs/configuration.md")
	line("health", "ask the one that runs on METRICS_ADDR or HTTP_ADDR ("+p.DefaultAddr+") whether it is alive")
	line("version", "tell the version, the commit, Go's version and the versions of messages")
	line("config", "check the environment and tell how it configures the "+p.Name+", without secrets")
	for _, c := range p.Commands {
		line(c.Name, c.Summary)
	}
	line("help", "print this")
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

// environ is the process's environment with HTTP_ADDR always in it.
func (p Program) environ() []string { return Default(os.Environ(), "HTTP_ADDR", p.DefaultAddr) }

func (p Program) serve() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, p.environ()) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		stop() // a second signal kills
		select {
		case err = <-done:
		case <-time.After(DrainTime):
			err = fmt.Errorf("work in hand was not finished within %s", DrainTime)
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

// alive asks the service at the listening address addr for /healthz. Whose
// certificate it shows does not matter: it is this machine, and nothing is told.
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
		return fmt.Errorf("/healthz answers %s", resp.Status)
	}
	return nil
}
