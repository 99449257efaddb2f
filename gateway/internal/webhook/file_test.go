package webhook

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// a is a usable secret.
const a = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// TestFile verifies what the lines of a file mean.
func TestFile(t *testing.T) {
	list, err := parse([]byte("\ufeff# all jobs\r\n"+
		"https://example.com/all "+a+"\n\n"+
		"  https://example.com/#top\t"+a+" owner=anna events=job.failed,job.completed,job.failed # hers\n"+
		"http://127.0.0.1:9/ "+a+" old_secret="+a+"\n"), loopback)
	if err != nil || len(list) != 3 {
		t.Fatalf("got %+v, %v", list, err)
	}
	for i, want := range []job.Webhook{
		{URL: "https://example.com/all", Events: job.EventTypes},
		{URL: "https://example.com/", Owner: "anna", Events: []job.EventType{job.JobCompleted, job.JobFailed}},
		{URL: "http://127.0.0.1:9/", Events: job.EventTypes, OldSecret: a, OldUntil: forever},
	} {
		got := list[i]
		if got.URL != want.URL || got.Owner != want.Owner || len(got.Events) != len(want.Events) || got.Events[0] != want.Events[0] ||
			got.Secret != a || got.OldSecret != want.OldSecret || !got.OldUntil.Equal(want.OldUntil) || !got.Listed {
			t.Errorf("line %d is %+v, want %+v", i+1, got, want)
		}
	}
	again, err := parse([]byte("https://example.com/all whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB events=job.failed"), nil)
	if err != nil || again[0].ID != list[0].ID || list[0].ID == list[1].ID {
		t.Errorf("with another secret and other events, the ID is %v, want %s; %v", again, list[0].ID, err)
	}
	if list, err := parse(nil, nil); err != nil || len(list) != 0 {
		t.Errorf("an empty file has %+v, %v", list, err)
	}
}

// TestMistakes verifies that one error lists all mistakes of a file, without its secrets.
func TestMistakes(t *testing.T) {
	_, err := parse([]byte("https://example.com/hidden\n"+
		"ftp://example.com/hidden whsec_hidden owner=/ events=job.ended old_secret=hidden colour=blue\n"+
		"https://example.com/ "+a+"\n"+
		"https://10.0.0.1/ "+a+"\n"+
		"https://EXAMPLE.com/ "+a+" events=job.failed\n"), nil)
	want := []string{
		"line 1: want a URL and its secret",
		"line 2: Unsupported URL scheme: only http and https are allowed",
		"a secret is whsec_ and 24 to 64 bytes in base64",
		"a name is 1 to 64 letters, digits and . _ - @",
		"events must be one or more of job.completed, job.failed and job.cancelled",
		"old_secret: a secret is whsec_ and 24 to 64 bytes in base64",
		"options are owner=NAME, events=TYPE,TYPE and old_secret=SECRET",
		"line 4: URL not allowed: want a public address on port 80 or 443",
		"line 5: same URL and owner as on line 3",
	}
	if err == nil || err.Error() != strings.Join(want, "\n") {
		t.Errorf("got\n%v\nwant\n%s", err, strings.Join(want, "\n"))
	}
	if _, err := parse([]byte("\xff\xfeh\x00"), nil); err == nil || err.Error() != "the file is UTF-16, want UTF-8" {
		t.Errorf("UTF-16: got %v", err)
	}
	path := filepath.Join(t.TempDir(), "webhooks")
	if _, err := OpenFile(path, nil); err == nil {
		t.Error("a missing file is accepted")
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("#", maxFile+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(path, nil); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("a file that is too large: got %v", err)
	}
}

// TestReload verifies that a change of the file counts after two reads, and that a mistake
// changes nothing.
func TestReload(t *testing.T) {
	r := setup(t)
	path := filepath.Join(t.TempDir(), "webhooks")
	write := func(text string) {
		t.Helper()
		r.must(os.WriteFile(path, []byte(text), 0o600))
	}
	urls := func() string {
		t.Helper()
		list, err := r.store.Webhooks(t.Context(), job.Everybody)
		r.must(err)
		var all []string
		for _, w := range list {
			all = append(all, w.URL)
		}
		return strings.Join(all, " ")
	}
	expect := func(f *File, looks int, want string) {
		t.Helper()
		for range looks {
			f.look(t.Context(), r.deps)
		}
		if got := urls(); got != want {
			t.Errorf("the webhooks are %q, want %q", got, want)
		}
	}
	const first, second = "https://example.com/1", "https://example.com/2"
	write(first + " " + a)
	f, err := OpenFile(path, nil)
	r.must(err)
	r.config.File = f
	r.must(r.StoreListed(t.Context()))
	expect(f, 0, first)
	write(first + " " + a + "\n" + second + " " + a)
	expect(f, 1, first)
	expect(f, 1, first+" "+second)
	write(first)
	expect(f, 3, first+" "+second)
	if n := strings.Count(r.log.String(), "webhooks of the file not reloaded"); n != 1 {
		t.Errorf("the mistake is logged %d times, want once", n)
	}
	r.must(os.Remove(path))
	expect(f, 3, first+" "+second)
	write("")
	expect(f, 2, "")

	// A gateway without the file has no webhooks of it either.
	write(first + " " + a)
	expect(f, 2, first)
	r.config.File = nil
	r.must(r.StoreListed(t.Context()))
	expect(f, 0, "")
}

// awayStore is unavailable for some calls.
type awayStore struct {
	store
	away int
}

func (s *awayStore) ListWebhooks(context.Context, []job.Webhook, time.Time) (int, error) {
	if s.away--; s.away >= 0 {
		return 0, job.ErrUnavailable
	}
	return 0, nil
}

// TestStartWaitsForTheStore verifies that a gateway that starts waits for an unavailable job store, but not for ever.
func TestStartWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := func(away int) (time.Duration, error) {
			began := time.Now()
			d := New(Config{}, Deps{Store: &awayStore{away: away}, Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry(), Now: time.Now})
			err := d.StoreListed(t.Context())
			return time.Since(began), err
		}
		if took, err := start(40); err != nil || took < 40*startRetry {
			t.Errorf("after 40 failed calls: %v after %s, want success after at least %s", err, took, 40*startRetry)
		}
		if took, err := start(1 << 30); !errors.Is(err, job.ErrUnavailable) || took != startTime {
			t.Errorf("with a store that stays away: %v after %s, want %v after %s", err, took, job.ErrUnavailable, startTime)
		}
	})
}
