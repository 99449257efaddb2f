package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/visiontest"
)

// interrupted is a model that hangs from a number of answers on, until it is resumed.
type interrupted struct {
	after int
	slots int           // requests that the analyzer keeps in flight
	hangs chan struct{} // closed when all of them hang: then each answer before has arrived

	mu      sync.Mutex // guards the fields below
	answers map[[32]byte]int
	hanging int
	resumed bool
	builtIn []byte // the image of the first request, with which the analyzer tests the model
}

func (m *interrupted) reply(w http.ResponseWriter, r *http.Request, q visiontest.Request) {
	m.mu.Lock()
	if m.builtIn == nil {
		m.builtIn = q.Picture
	}
	if q.Picture == nil || bytes.Equal(q.Picture, m.builtIn) {
		m.mu.Unlock()
		visiontest.Default(w, r, q)
		return
	}
	if hang := len(m.answers) >= m.after && !m.resumed; hang {
		if m.hanging++; m.hanging == m.slots {
			close(m.hangs)
		}
		m.mu.Unlock()
		visiontest.Hang(w, r, q)
		return
	}
	m.answers[sha256.Sum256(q.Picture)]++
	m.mu.Unlock()
	visiontest.Default(w, r, q)
}

func (m *interrupted) resume() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resumed = true
}

// TestCaptionOutage makes the model's server unreachable in the middle of 300 images, for longer than an image waits. It
// verifies that every image ends and none fails: those that have waited too long without a caption and with the warning,
// the others with a caption, before and after the outage, and that no picture is paid for twice.
//
// The circuit breaker opens when the server is cut off and tries again after a minute. Five requests at a time are in
// flight, and an image that waits keeps its slot for a second. So the 200 images that are left get their first turn in about 40
// seconds and their second one in the next 30: the first of them have then waited for more than 30 seconds, and the others
// have not when the minute is over.
func TestCaptionOutage(t *testing.T) {
	const jobs, perJob, before = 3, 100, 100
	const slots = 5
	const missing, after = 10, 20 // fewest images without a caption, and with one after the outage
	eachForm(t, func(t *testing.T, start func(t *testing.T, env ...string) *system) {
		server := visiontest.Start(t, "secret")
		model := &interrupted{after: before, slots: slots, hangs: make(chan struct{}), answers: map[[32]byte]int{}}
		server.Play(model.reply)
		u, err := url.Parse(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		line := startWire(t, u.Host)
		s := start(t, captionEnv(server, "CAPTION_URL=http://"+line.addr+u.Path, fmt.Sprint("CAPTION_CONCURRENCY=", slots), "CAPTION_MAX_WAIT=30s")...)
		await(t, func() (bool, string) { n := len(server.Requests()); return n > 0, fmt.Sprint(n) })
		var ids []string
		for j := range jobs {
			var batch []map[string]string
			for i := range perJob {
				batch = append(batch, pngInline(fmt.Sprintf("%d.png", i), tile(t, j*perJob+i)))
			}
			ids = append(ids, s.submit(t, batch...))
		}
		await(t, func() (bool, string) {
			select {
			case <-model.hangs:
				return true, ""
			default:
				return false, fmt.Sprint(len(server.Requests()))
			}
		})
		line.cut()
		s.parts[len(s.parts)/2].awaitReadyz(http.StatusOK, "unavailable: ") // the analyzer, or the one process
		await(t, func() (bool, string) { n := s.uncaptioned(t); return n >= missing, fmt.Sprint(n) })
		model.resume()
		line.open(t)

		captioned, uncaptioned := 0, 0
		for _, id := range ids {
			got := s.ended(t, id)
			if got.Completed != perJob || got.Failed != 0 {
				t.Fatalf("%d images are completed and %d have failed, want %d and 0", got.Completed, got.Failed, perJob)
			}
			for i := range perJob {
				r := s.record(t, id, i)
				warned := slices.Contains(r.Warnings, "not captioned: the model did not answer in time")
				other := slices.ContainsFunc(r.Warnings, func(w string) bool { return strings.HasPrefix(w, "not captioned: ") }) && !warned
				switch {
				case len(r.Captioned) == 4 && r.Title == visiontest.Title && !warned && !other:
					captioned++
				case len(r.Captioned) == 0 && warned:
					uncaptioned++
				default:
					t.Errorf("image %d: %+v", i, r)
				}
			}
		}
		if n := s.uncaptioned(t); n != uncaptioned {
			t.Errorf("the list has %d images without a caption, want %d", n, uncaptioned)
		}
		model.mu.Lock()
		defer model.mu.Unlock()
		for picture, n := range model.answers {
			if n != 1 {
				t.Errorf("picture %x has been paid for %d times", picture, n)
			}
		}
		if captioned != len(model.answers) || captioned < before+after || uncaptioned < missing {
			t.Errorf("%d captioned and %d uncaptioned images after %d answers, want at least %d and %d", captioned, uncaptioned, len(model.answers), before+after, missing)
		}
		t.Logf("%d captioned, %d uncaptioned", captioned, uncaptioned)
	})
}

// uncaptioned returns the number of images without a caption in all jobs.
func (s *system) uncaptioned(t *testing.T) (n int) {
	t.Helper()
	var list struct {
		Jobs []struct {
			Uncaptioned int `json:"uncaptioned"`
		} `json:"jobs"`
	}
	s.call(t, http.MethodGet, "/api/v1/batch?uncaptioned=true&view=summary", nil, &list)
	for _, j := range list.Jobs {
		n += j.Uncaptioned
	}
	return n
}
