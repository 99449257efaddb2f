package deadletters

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/deadletter"
)

const usage = `usage: gateway dead-letters list   [-queue NAME] [-job ID] [-trace ID] [-json]
       gateway dead-letters show   [-queue NAME] [-job ID] [-trace ID]
       gateway dead-letters replay [-queue NAME] [-job ID] [-trace ID] [-json]
                                   [-dry-run] [-rate 10/s] [-wait 10s] [-drop]

Handle dead letters: messages that could not be processed. list prints one line for each, show prints them in full, and
replay retries them: the message of an image that is still open is published to its queue again, and the failed images of
a job that has ended become one new job. A second replay creates no second job.

  -queue NAME   select image_upload, image_described, metadata_generated or image_processed; without it, all four
  -job ID       select the dead letters of this job
  -trace ID     select the dead letters of this image
  -json         print one JSON object per line
  -dry-run      print what a replay would do, without doing it
  -rate N/s     replay at most N dead letters per second, or per minute with N/m
  -wait TIME    wait at most this long in total for jobs that are about to end
  -drop         remove dead letters that can never be replayed: of an invalid message, an unknown job or a cancelled job

The command reads RABBITMQ_URL and queries the gateway at GATEWAY_URL, or at HTTP_ADDR on this machine. If the gateway
has API keys, set GATEWAY_API_KEY to the key of an operator: with another key, the jobs of other keys appear to be unknown.

exit code: 0 success; 1 broker, gateway or queue unavailable, run it again; 2 invalid arguments or configuration;
3 some dead letters could not be replayed, or none was found to show
`

var errHelp = errors.New("help requested")

// options are the parsed arguments.
type options struct {
	verb   string
	queues []string
	job    string
	trace  string
	json   bool
	dryRun bool
	drop   bool
	pause  time.Duration // between two dead letters
	wait   time.Duration
}

func parse(args []string) (options, error) {
	var o options
	if len(args) == 0 {
		return o, errors.New("want list, show or replay")
	}
	if slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		return o, errHelp
	}
	o.verb, o.queues = args[0], deadletter.Queues
	flags := flag.NewFlagSet(o.verb, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	queue := flags.String("queue", "", "")
	rate := flags.String("rate", "10/s", "")
	flags.StringVar(&o.job, "job", "", "")
	flags.StringVar(&o.trace, "trace", "", "")
	switch o.verb {
	case "list":
		flags.BoolVar(&o.json, "json", false, "")
	case "show":
	case "replay":
		flags.BoolVar(&o.json, "json", false, "")
		flags.BoolVar(&o.dryRun, "dry-run", false, "")
		flags.BoolVar(&o.drop, "drop", false, "")
		flags.DurationVar(&o.wait, "wait", 10*time.Second, "")
	default:
		return o, fmt.Errorf("%q: want list, show or replay", o.verb)
	}
	err := flags.Parse(args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return o, errHelp
	case err != nil:
		return o, err
	case flags.NArg() > 0:
		return o, fmt.Errorf("unknown argument %q", flags.Arg(0))
	case o.wait < 0:
		return o, fmt.Errorf("-wait %s: want a duration such as 10s, or 0", o.wait)
	}
	if *queue != "" {
		name, known := deadletter.Queue(*queue)
		if !known {
			return o, fmt.Errorf("-queue %q: want one of %s", *queue, strings.Join(deadletter.Queues, ", "))
		}
		o.queues = []string{name}
	}
	o.pause, err = parseRate(*rate)
	return o, err
}

// parseRate converts 10/s, 600/m or 10 to the time between two dead letters.
func parseRate(text string) (time.Duration, error) {
	count, unit, _ := strings.Cut(text, "/")
	period, known := map[string]time.Duration{"": time.Second, "s": time.Second, "m": time.Minute}[unit]
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > 100_000 || !known {
		return 0, fmt.Errorf("-rate %q: want a rate such as 10/s or 30/m", text)
	}
	return period / time.Duration(n), nil
}

// wants reports whether the options select the dead letter.
func (o options) wants(l deadletter.Letter) bool {
	return (o.job == "" || o.job == l.Envelope.JobID) && (o.trace == "" || o.trace == string(l.Envelope.TraceID))
}
