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

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

const usage = `usage: gateway dead-letters list   [-queue NAME] [-job ID] [-trace ID] [-json]
       gateway dead-letters show   [-queue NAME] [-job ID] [-trace ID]
       gateway dead-letters replay [-queue NAME] [-job ID] [-trace ID] [-json]
                                   [-dry-run] [-rate 10/s] [-wait 10s] [-drop]

Dead letters are messages that nobody could finish. list tells which there are, show prints them whole, replay
sends them on: a message whose image is still open goes to its queue again, and the failed images of a job that
has ended become one new job. Replaying twice makes no second one.

  -queue NAME   image_upload, metadata_generated or image_processed; all of them without it
  -job ID       only the letters of this job
  -trace ID     only the letters of this image
  -json         one JSON object a line, for programs
  -dry-run      tell what a replay would do, and do nothing
  -rate N/s     replay at most so many letters a second, or N/m a minute
  -wait TIME    how long to wait, in all, for jobs that are about to end
  -drop         take letters away that can never be replayed: not understood, of no known job, of a cancelled one

It reads RABBITMQ_URL, and asks the gateway at GATEWAY_URL, or at HTTP_ADDR on this machine. Where that has API keys, it
needs GATEWAY_API_KEY, an operator's: with another one it takes the jobs of others for unknown.

exit code: 0 done; 1 broker, gateway or queue not available, run it again; 2 wrong arguments or configuration;
3 letters were left that could not be replayed, or none was found to be shown
`

var errHelp = errors.New("help wanted")

// options are what the operator asks for.
type options struct {
	verb   string
	queues []string
	job    string
	trace  string
	json   bool
	dryRun bool
	drop   bool
	pause  time.Duration // between two letters
	wait   time.Duration
}

var workQueues = []string{pipeline.ImageUpload.Name, pipeline.MetadataGenerated.Name, pipeline.ImageProcessed.Name}

func parse(args []string) (options, error) {
	var o options
	if len(args) == 0 {
		return o, errors.New("list, show or replay?")
	}
	if slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		return o, errHelp
	}
	o.verb, o.queues = args[0], workQueues
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
		return o, fmt.Errorf("%q is none of list, show and replay", o.verb)
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
		return o, fmt.Errorf("-wait %s: want a time such as 10s, or 0", o.wait)
	}
	if *queue != "" {
		name := strings.TrimSuffix(*queue, broker.DeadQueue(""))
		if !slices.Contains(workQueues, name) {
			return o, fmt.Errorf("-queue %q: want one of %s", *queue, strings.Join(workQueues, ", "))
		}
		o.queues = []string{name}
	}
	o.pause, err = parseRate(*rate)
	return o, err
}

// parseRate reads 10/s, 600/m or 10 as the time from one letter to the next.
func parseRate(text string) (time.Duration, error) {
	count, unit, _ := strings.Cut(text, "/")
	period, known := map[string]time.Duration{"": time.Second, "s": time.Second, "m": time.Minute}[unit]
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > 100_000 || !known {
		return 0, fmt.Errorf("-rate %q: want a rate such as 10/s or 30/m", text)
	}
	return period / time.Duration(n), nil
}

// wants says whether the operator has asked for the letter.
func (o options) wants(l letter) bool {
	return (o.job == "" || o.job == l.envelope.JobID) && (o.trace == "" || o.trace == string(l.envelope.TraceID))
}
