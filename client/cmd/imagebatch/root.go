package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/imagebatch/imagebatch/client"
)

const defaultURL = "http://localhost:8080"

// app is one run of the program.
type app struct {
	env            []string
	stdin          io.Reader
	stdout, stderr io.Writer

	url     string
	json    bool
	quiet   bool
	calm    bool // the command reports by itself that the gateway is not available
	running bool // the command line was valid, so that later errors are not about usage

	mu  sync.Mutex // serializes writes to stdout and stderr, and guards bar
	bar *bar       // nil: none
}

// run runs the command line and returns the exit code.
func run(args, env []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := untilSignal(context.Background())
	defer stop()
	a := &app{env: env, stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && !a.running {
		err = &usageError{err}
	}
	code := exitCode(ctx, err)
	if text := message(err); text != "" {
		a.note("imagebatch: %s", text)
	}
	return code
}

// root returns the command with its subcommands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "imagebatch",
		Short: "Send images to an Imagebatch gateway and save the results",
		Long: `Send images to an Imagebatch gateway and save the results.

The gateway is IMAGEBATCH_URL, or ` + defaultURL + `. If it needs an API key, set IMAGEBATCH_API_KEY,
or IMAGEBATCH_API_KEY_FILE to a file that contains the key.

Exit codes: 0 success; 1 some images failed; 2 usage, or a request that the gateway rejects as wrong; 3 the gateway
is not reachable or busy, try again; 4 a job failed or was cancelled; 5 the gateway refused access or size;
6 a local file could not be read or written; 130 and 143 interrupted.`,
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRun:  func(*cobra.Command, []string) { a.running = true },
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.url, "url", "", "address of the gateway (default IMAGEBATCH_URL, or "+defaultURL+")")
	flags.BoolVar(&a.json, "json", false, "print one JSON object per line")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "print no progress")
	root.AddCommand(
		a.sendCommand(), a.watchCommand(), a.statusCommand(), a.cancelCommand(), a.retryCommand(), a.reprocessCommand(), a.getCommand(), a.listCommand(), a.folderCommand(),
		a.similarCommand(), a.cleanCommand(), a.versionCommand(),
	)
	return root
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version and the commit", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.print(map[string]string{"type": "version", "version": version(), "commit": commit()})
			}
			return a.line(fmt.Sprintf("imagebatch %s\ncommit: %s\ngo:     %s %s/%s", version(), commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH))
		},
	}
}

// version returns the version of the module, if it was built from a release, and otherwise
// that of the client.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && strings.HasPrefix(info.Main.Version, "v") && !strings.HasPrefix(info.Main.Version, "v0.0.0-") {
		return strings.TrimPrefix(info.Main.Version, "v")
	}
	return client.Version
}

func commit() string {
	info, _ := debug.ReadBuildInfo()
	revision := ""
	if info != nil {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	return cmp.Or(revision, "unknown")
}

// variable returns a variable of the environment.
func (a *app) variable(name string) (value string) {
	for _, pair := range a.env {
		if k, v, _ := strings.Cut(pair, "="); k == name {
			value = v
		}
	}
	return value
}

// lookup returns a variable of the environment, or the content of the file that NAME_FILE names.
func (a *app) lookup(name string) (string, error) {
	value, path := a.variable(name), a.variable(name+"_FILE")
	if path == "" {
		return value, nil
	}
	if value != "" {
		return "", &usageError{fmt.Errorf("%s and %s_FILE are both set", name, name)}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", &localError{fmt.Errorf("%s_FILE: %w", name, err)}
	}
	return strings.TrimSpace(string(data)), nil
}

// The numbers of times that a request is repeated: few for a person who waits for a list, and
// many for a batch of a program that runs at night.
const (
	fewRetries  = 2
	manyRetries = 10
)

// connect returns a client for the gateway.
func (a *app) connect(retries int) (*client.Client, error) {
	address, err := a.address()
	if err != nil {
		return nil, err
	}
	key, err := a.lookup("IMAGEBATCH_API_KEY")
	if err != nil {
		return nil, err
	}
	options := []client.Option{
		client.WithUserAgent("imagebatch/" + version() + " (+https://github.com/imagebatch/imagebatch)"),
		client.WithRetries(retries),
		client.WithRetryNotice(func(err error, wait time.Duration) {
			if !a.quiet && !a.calm && wait >= time.Second {
				a.note("%v; trying again in %s", err, durationText(wait))
			}
		}),
	}
	if key != "" {
		options = append(options, client.WithAPIKey(key))
	}
	c, err := client.New(address, options...)
	if err != nil {
		return nil, &usageError{err}
	}
	return c, nil
}

// address returns the address of the gateway.
func (a *app) address() (string, error) {
	if a.url != "" {
		return a.url, nil
	}
	address, err := a.lookup("IMAGEBATCH_URL")
	return cmp.Or(address, defaultURL), err
}

// print prints one JSON object in a line of its own.
func (a *app) print(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return a.write(string(line))
}

// line prints a line to standard output.
func (a *app) line(text string) error { return a.write(printable(text)) }

// printable replaces control characters, with which a name could change the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' {
			return '\uFFFD'
		}
		return r
	}, text)
}

func (a *app) write(text string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bar.clear()
	defer a.bar.draw()
	if _, err := fmt.Fprintln(a.stdout, text); err != nil {
		return &localError{fmt.Errorf("write output: %w", err)}
	}
	return nil
}

// note prints a line to standard error.
func (a *app) note(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bar.clear()
	defer a.bar.draw()
	_, _ = fmt.Fprintln(a.stderr, printable(fmt.Sprintf(format, args...))) // there is no other place to report an error
}

// untilSignal returns a context that ends with the first SIGINT or SIGTERM. The second one
// kills the process.
func untilSignal(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case s := <-signals:
			signal.Stop(signals)
			code := exitInterrupted
			if s == syscall.SIGTERM {
				code = exitTerminated
			}
			cancel(&interrupted{code})
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}

// interruption returns the signal that ended ctx, if one did.
func interruption(ctx context.Context) (*interrupted, bool) {
	return errors.AsType[*interrupted](context.Cause(ctx))
}
