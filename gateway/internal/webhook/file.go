package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Limits of the file.
const (
	maxFile     = 1 << 20
	maxWebhooks = 1000
)

const (
	// startTime is how long StoreListed waits for a job store that is unavailable.
	startTime  = time.Minute
	startRetry = 250 * time.Millisecond
)

// forever is until when the old secret of a line signs: until the line changes.
var forever = time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC)

// File is a file with the webhooks of an operator. Each line has a URL, its secret, and options:
// owner=NAME for the jobs of one name of API keys only, events=TYPE,TYPE for some types only, and
// old_secret=SECRET for a second signature, while a secret is replaced. A # starts a comment at
// the start of a line or after a space.
//
// A change counts when two reads, [apikey.Interval] apart, have found it. A file that cannot be
// read or parsed changes nothing: the last good webhooks stay.
type File struct {
	path  string
	allow []netip.Prefix
	first []job.Webhook

	// Used by run only.
	taken, seen []byte // contents of the file when it was last accepted, and last read
	complained  string // last error that was logged
}

// OpenFile reads the file. Its error lists all mistakes.
func OpenFile(path string, allow []netip.Prefix) (*File, error) {
	f := &File{path: path, allow: allow}
	text, err := f.read()
	if err != nil {
		return nil, err
	}
	if f.first, err = parse(text, allow); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.taken, f.seen = text, text
	return f, nil
}

func (f *File) read() ([]byte, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // Nothing was written.
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.path, err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s: more than %d bytes", f.path, maxFile)
	}
	return text, nil
}

// StoreListed stores the webhooks of the file, or that there are none without a file. It is called
// before a job can end, and waits up to a minute for the job store.
func (s *Deliverer) StoreListed(ctx context.Context) error {
	var list []job.Webhook
	if s.config.File != nil {
		list = s.config.File.first
	}
	waiting, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	removed, err := s.deps.Store.ListWebhooks(waiting, list, s.deps.Now())
	for errors.Is(err, job.ErrUnavailable) && sleep(waiting, startRetry) {
		removed, err = s.deps.Store.ListWebhooks(waiting, list, s.deps.Now())
	}
	if err != nil {
		return fmt.Errorf("WEBHOOKS_FILE: %w", err)
	}
	if len(list)+removed > 0 {
		s.deps.Log.InfoContext(ctx, "webhooks of the file stored", "webhooks", len(list), "removed", removed)
	}
	return nil
}

// run stores the changes of the file until ctx is done.
func (f *File) run(ctx context.Context, d Deps) {
	for sleep(ctx, apikey.Interval) {
		f.look(ctx, d)
	}
}

// sleep reports whether the time has passed before the end of ctx.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// look stores a change of the file once two reads have found it.
func (f *File) look(ctx context.Context, d Deps) {
	text, err := f.read()
	settled := err == nil && bytes.Equal(text, f.seen)
	f.seen = text
	var list []job.Webhook
	if err == nil {
		if !settled {
			return
		}
		if bytes.Equal(text, f.taken) {
			f.complained = ""
			return
		}
		list, err = parse(text, f.allow)
	}
	var removed int
	if err == nil {
		removed, err = d.Store.ListWebhooks(ctx, list, d.Now())
	}
	if err != nil {
		f.complain(ctx, d.Log, err)
		return
	}
	f.taken, f.complained = text, ""
	d.Log.InfoContext(ctx, "webhooks of the file stored", "webhooks", len(list), "removed", removed)
}

// complain logs an error, but not twice in a row.
func (f *File) complain(ctx context.Context, log *slog.Logger, err error) {
	if err.Error() == f.complained || ctx.Err() != nil {
		return
	}
	f.complained = err.Error()
	log.ErrorContext(ctx, "webhooks of the file not reloaded; the last good ones stay in use", "file", f.path, "error", err)
}

// parse reads the lines of a file. Its error lists all mistakes, without the secrets and the
// URLs.
func parse(text []byte, allow []netip.Prefix) ([]job.Webhook, error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return nil, errors.New("the file is UTF-16, want UTF-8")
	}
	var list []job.Webhook
	var errs []error
	lines := map[string]int{} // by ID
	n := 0
	for line := range bytes.Lines(text) {
		n++
		fields := strings.Fields(string(line))
		for i, field := range fields {
			if strings.HasPrefix(field, "#") {
				fields = fields[:i]
				break
			}
		}
		if len(fields) == 0 {
			continue
		}
		w, err := parseLine(fields, allow)
		if err == nil && lines[w.ID] != 0 {
			err = fmt.Errorf("same URL and owner as on line %d", lines[w.ID])
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		lines[w.ID] = n
		list = append(list, w)
	}
	if len(list) > maxWebhooks {
		errs = append(errs, fmt.Errorf("%d webhooks, want at most %d", len(list), maxWebhooks))
	}
	return list, errors.Join(errs...)
}

func parseLine(fields []string, allow []netip.Prefix) (w job.Webhook, err error) {
	if len(fields) < 2 {
		return w, errors.New("want a URL and its secret")
	}
	w = job.Webhook{Events: job.EventTypes, Listed: true, Secret: job.Secret(fields[1])}
	var errs []error
	if w.URL, err = CheckURL(fields[0], allow); err != nil {
		errs = append(errs, err)
	}
	if _, err := keyOf(w.Secret); err != nil {
		errs = append(errs, err)
	}
	for _, option := range fields[2:] {
		name, value, _ := strings.Cut(option, "=")
		switch name {
		case "owner":
			w.Owner = value
			err = apikey.CheckName(value)
		case "events":
			w.Events, err = ParseEvents(strings.Split(value, ","))
		case "old_secret":
			w.OldSecret, w.OldUntil = job.Secret(value), forever
			if _, err = keyOf(w.OldSecret); err != nil {
				err = fmt.Errorf("old_secret: %w", err)
			}
		default:
			err = errors.New("options are owner=NAME, events=TYPE,TYPE and old_secret=SECRET")
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	// All gateways give a line the same ID, whatever its secret and its events are.
	w.ID = uuid.NewSHA1(uuid.NameSpaceURL, []byte(w.Owner+" "+w.URL)).String()
	return w, errors.Join(errs...)
}

// ParseEvents returns the types of messages with these names. The text of its error is for
// clients.
func ParseEvents(names []string) ([]job.EventType, error) {
	var list []job.EventType
	for _, e := range job.EventTypes { // in this order, each once
		if slices.Contains(names, string(e)) {
			list = append(list, e)
		}
	}
	for _, name := range names {
		if !slices.Contains(list, job.EventType(name)) {
			list = nil
		}
	}
	if len(list) == 0 {
		return nil, errors.New("events must be one or more of job.completed, job.failed and job.cancelled")
	}
	return list, nil
}
