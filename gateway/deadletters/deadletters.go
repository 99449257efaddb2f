// Package deadletters is the operator's tool for the messages that nobody could
// finish: it lists them, shows them, and replays them once what killed them has
// been mended.
//
// It stands between the broker, where it reads and acks the letters, and a
// running gateway, which it asks about jobs as any client does. So it is the same
// for SQLite, whose file the gateway has for itself, for PostgreSQL and for any
// number of gateways, and needs no rights on the database.
//
// # What a replay does
//
// Nearly every dead letter has a copy in dead_results, by which the gateway has
// ended its image as failed; an ended job never changes. The letter of such an
// image is replayed by the retry of the API: one new job of all failed images of
// the old one, however many letters it has. An image that is still open goes on:
// its message is put on its work queue again as a new one, attempt 1, with no
// headers of before. The letter of an image that has completed asks for nothing and
// is taken away.
//
// A letter leaves its queue only when what it asked for is durable: when the
// gateway has answered with the new job, or the broker has confirmed the message.
//
// Twice is once. The retry goes by an Idempotency-Key that is made of the job's id
// alone, so a replay that was killed before its ack, or two at one time, come to
// the same new job. A message that is put on a work queue twice does no more
// than one does, as everywhere in the pipeline. And a queue that is being read is
// refused to a second reader.
//
// What can't be replayed is told and left: a letter that is no message of this
// version, one whose job is not known (any more), was cancelled, or has other
// images that still run, one of which nothing is stored. Only -drop takes the
// first three away.
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

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/connect"
	"github.com/imagebatch/imagebatch/shared/service"
)

// Name is the argument of the gateway that asks for this tool.
const Name = "dead-letters"

// Exit codes.
const (
	exitDone  = 0
	exitError = 1 // the broker or the gateway is away, or somebody else reads the queue; run it again
	exitUsage = 2 // the arguments or the configuration are wrong
	exitLeft  = 3 // letters that were to be replayed are still there, or none was found to be shown
)

// Config is what the tool reads of the gateway's environment.
type Config struct {
	connect.BrokerConfig
	HTTPAddr    string `env:"HTTP_ADDR"`
	TLSCertFile string `env:"TLS_CERT_FILE"`

	// Where a running gateway answers, `http://` or `https://`. Only the tool reads it, and needs it where `TLS_CERT_FILE` is set.
	//
	// Default: this machine, at `HTTP_ADDR`
	GatewayURL service.SecretURL `env:"GATEWAY_URL"`
	// Where the gateway has API keys, one of an `operator`. With another the tool takes the jobs of others for unknown, and
	// `-drop` takes their letters away.
	APIKey service.Secret `env:"GATEWAY_API_KEY"`
}

// complete fills in the gateway's URL and returns everything that is wrong.
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
		c.GatewayURL = service.SecretURL(local)
	}
	if u, err := url.Parse(c.GatewayURL.Reveal()); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		errs = append(errs, errors.New("GATEWAY_URL: want http://host:port or https://host"))
	}
	return errors.Join(errs...)
}

// transport trusts whom the environment says.
func (c *Config) transport() (*http.Transport, error) {
	roots, err := c.Roots()
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return t, err
}

// Main does what the arguments say and returns the exit code.
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
	b, err := c.Open(false, log, nil) //nolint:contextcheck // What was begun is finished after a signal.
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

// letterbox is what the tool needs of a broker.
type letterbox interface {
	broker.Browser
	Publish(ctx context.Context, queue string, m broker.Message) error
}

// tool is one call of it.
type tool struct {
	options
	letters letterbox
	gateway *client
	printer
}

func newTool(o options, b letterbox, gatewayURL, apiKey string, stdout io.Writer) *tool {
	return &tool{options: o, letters: b, gateway: newClient(gatewayURL, apiKey), printer: printer{stdout}}
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

// browse hands out the letters of all queues that the options ask for, each as
// far as it is understood.
func (t *tool) browse(ctx context.Context, handle func(context.Context, letter) error) error {
	for _, queue := range t.queues {
		err := t.letters.Browse(ctx, broker.DeadQueue(queue), func(ctx context.Context, found broker.Letter) error {
			l := read(queue, found)
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
