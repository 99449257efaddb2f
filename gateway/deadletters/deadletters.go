// Package deadletters is the operator's command for messages that could not be
// processed. It lists them, shows them, and replays them once the cause is fixed.
//
// It reads and acks dead letters at the broker and queries a running gateway about jobs
// as any client does. It therefore works the same with SQLite, whose file only the
// gateway can open, with PostgreSQL, and with any number of gateways, and it needs no
// access to the database.
//
// What a replay does is described in package deadletter, which the API shares. A dead letter
// leaves its queue only when its replay is durable: when the gateway has responded with the new
// job, or the broker has confirmed the message. A second replay, and a concurrent one, results in
// the same new job. A queue with a reader rejects a second reader.
//
// A dead letter that cannot be replayed is reported and left: it is not a message of a
// supported version, its job is unknown, was cancelled or has other images that still
// run, or nothing is stored of its image. Only -drop removes the first three kinds.
package deadletters

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/imagebatch/imagebatch/gateway/internal/deadletter"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/connect"
	"github.com/imagebatch/imagebatch/shared/service"
)

// Name is the subcommand of the gateway.
const Name = "dead-letters"

// Exit codes.
const (
	exitDone  = 0
	exitError = 1 // the broker, the gateway or the queue is unavailable; run it again
	exitUsage = 2 // invalid arguments or configuration
	exitLeft  = 3 // some dead letters could not be replayed, or none was found to show
)

// Config is the part of the gateway's environment that the tool reads.
type Config struct {
	connect.BrokerConfig
	HTTPAddr    string `env:"HTTP_ADDR"`
	BasePath    string `env:"BASE_PATH"`
	TLSCertFile string `env:"TLS_CERT_FILE"`

	// URL of a running gateway, `http://` or `https://`, with its `BASE_PATH` if it has one. Only the tool reads it, and requires
	// it if `TLS_CERT_FILE` is set.
	//
	// Default: this machine, at `HTTP_ADDR` and `BASE_PATH`
	GatewayURL service.SecretURL `env:"GATEWAY_URL"`
	// API key of an `operator`, if the gateway has API keys. With another key, the jobs of other keys appear to be unknown, and
	// `-drop` removes their dead letters.
	APIKey service.Secret `env:"GATEWAY_API_KEY"`
}

// complete sets the gateway's URL and returns an error that lists every mistake.
func (c *Config) complete() error {
	errs := []error{c.Validate()}
	if c.GatewayURL == "" && c.TLSCertFile != "" {
		return errors.Join(append(errs, errors.New("GATEWAY_URL: want https:// and the name in the certificate, since TLS_CERT_FILE is set"))...)
	}
	if c.GatewayURL == "" {
		local, err := service.LocalURL(c.HTTPAddr)
		if err != nil {
			errs = append(errs, fmt.Errorf("HTTP_ADDR: %w", err))
		}
		c.GatewayURL = service.SecretURL(local + c.BasePath)
	}
	if u, err := url.Parse(c.GatewayURL.Reveal()); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		errs = append(errs, errors.New("GATEWAY_URL: want http://host:port or https://host"))
	}
	return errors.Join(errs...)
}

// transport returns a transport that trusts the configured authorities.
func (c *Config) transport() (*http.Transport, error) {
	roots, err := c.Roots()
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return t, err
}

// Main executes the command and returns the exit code.
func Main(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	o, err := parse(args)
	if errors.Is(err, errHelp) {
		_, _ = io.WriteString(stdout, usage)
		return exitDone
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "%s: %v\n\n%s", Name, err, usage)
		return exitUsage
	}
	c, err := service.Load(environ, (*Config).complete)
	if err != nil {
		return complain(stderr, exitUsage, err)
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b, err := c.Open("gateway dead-letters", false, log, nil) //nolint:contextcheck // After a signal, the operation in progress still finishes.
	if err != nil {
		return complain(stderr, exitUsage, err)
	}
	t := newTool(o, b, c.GatewayURL.Reveal(), c.APIKey.Reveal(), stdout)
	if t.gateway.http.Transport, err = c.transport(); err != nil {
		return complain(stderr, exitUsage, errors.Join(err, b.Close()))
	}
	code, err := t.run(ctx)
	if err := errors.Join(err, b.Close()); err != nil {
		return complain(stderr, exitError, err)
	}
	return code
}

func complain(w io.Writer, code int, err error) int {
	_, _ = fmt.Fprintf(w, "%s: %v\n", Name, err)
	return code
}

// deadLetterBroker is the part of a broker that the tool needs.
type deadLetterBroker interface {
	broker.Browser
	Publish(ctx context.Context, queue string, m broker.Message) error
}

// tool is one execution of the command.
type tool struct {
	options
	broker  deadLetterBroker
	gateway *client
	printer
}

func newTool(o options, b deadLetterBroker, gatewayURL, apiKey string, stdout io.Writer) *tool {
	return &tool{options: o, broker: b, gateway: newClient(gatewayURL, apiKey), printer: printer{stdout}}
}

func (t *tool) run(ctx context.Context) (int, error) {
	switch t.verb {
	case "list":
		return t.list(ctx)
	case "show":
		return t.show(ctx)
	default:
		return newReplay(t).run(ctx)
	}
}

// browse calls handle with each dead letter in the selected queues that matches the
// options.
func (t *tool) browse(ctx context.Context, handle func(context.Context, deadletter.Letter) error) error {
	for _, queue := range t.queues {
		err := t.broker.Browse(ctx, broker.DeadQueue(queue), broker.MaxBrowse, func(ctx context.Context, found broker.Letter) error {
			l := deadletter.Parse(queue, found)
			if !t.wants(l) {
				return nil
			}
			return handle(ctx, l)
		})
		if errors.Is(err, broker.ErrInUse) {
			return fmt.Errorf("%w; run this again when it has ended", err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
