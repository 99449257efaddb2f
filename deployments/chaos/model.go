package main

import (
	"bytes"
	"context"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/analyzer/visiontest"
)

// modelKey is the key of the model's API.
const modelKey = "secret"

// model is the vision model of a run with captions: a stand-in that rejects every request that OpenAI's API would not accept.
type model struct {
	*visiontest.Server

	mu     sync.Mutex // guards the fields below
	rate   float64    // share of requests that fail
	faults []visiontest.Reply
	random *rand.Rand
	failed int // number of requests that failed
}

// newModel starts a model. It passes what is wrong with a request to report.
func newModel(random *rand.Rand, report func(error)) (*model, error) {
	server, err := visiontest.New(modelKey, report)
	if err != nil {
		return nil, err
	}
	m := &model{Server: server, random: random}
	m.Play(m.reply)
	return m, nil
}

// env returns the variables of an analyzer that asks the model at the URL. Its images wait for a short time, because they
// must end in the time of a run.
func (*model) env(at *url.URL) []string {
	return []string{
		"CAPTION_URL=" + at.String(), "CAPTION_API_KEY=" + modelKey, "CAPTION_MODEL=stand-in", "CAPTION_CONCURRENCY=2",
		"CAPTION_TIMEOUT=2s", "CAPTION_MAX_WAIT=10s",
	}
}

// trouble makes requests fail at the rate, from 0 to 1, each in one of the ways.
func (m *model) trouble(rate float64, faults ...visiontest.Reply) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rate, m.faults = rate, faults
}

func (m *model) reply(w http.ResponseWriter, r *http.Request, q visiontest.Request) {
	m.mu.Lock()
	reply := visiontest.Default
	if len(m.faults) > 0 && m.random.Float64() < m.rate {
		reply = m.faults[m.random.IntN(len(m.faults))]
		m.failed++
	}
	m.mu.Unlock()
	reply(w, r, q)
}

// broken returns the number of requests that failed.
func (m *model) broken() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed
}

// asked returns the number of requests about pictures of the size.
func (m *model) asked(size image.Point) (n int) {
	for _, q := range m.Requests() {
		if c, err := jpeg.DecodeConfig(bytes.NewReader(q.Picture)); err == nil && image.Pt(c.Width, c.Height) == size {
			n++
		}
	}
	return n
}

var modelFaults = []fault{
	{"model in trouble", 4, 4 * time.Second, modelTrouble(0.5,
		visiontest.Status(http.StatusInternalServerError, "{}"), visiontest.Status(http.StatusServiceUnavailable, ""), visiontest.Drop, visiontest.Hang,
		visiontest.Status(http.StatusTooManyRequests, "{}", "Retry-After", "1"), visiontest.Status(http.StatusUnprocessableEntity, "{}"),
		visiontest.Status(http.StatusUnauthorized, "{}"), visiontest.Content("no JSON"), visiontest.Message(map[string]any{"refusal": "no"}, "stop"),
		visiontest.Message(map[string]any{"content": `{"title":"x`}, "length"),
	)},
	{"model unavailable", 2, 3 * time.Second, modelTrouble(1, visiontest.Drop)},
}

// modelTrouble makes requests to the model fail at the rate.
func modelTrouble(rate float64, faults ...visiontest.Reply) effect {
	return func(_ context.Context, r *run, _ injection) (func() error, error) {
		r.model.trouble(rate, faults...)
		return func() error { r.model.trouble(0); return nil }, nil
	}
}

// texts are the parts of a record that concern captions.
type texts struct {
	Title     string   `json:"title"`
	Captioned []string `json:"captioned"`
	Warnings  []string `json:"warnings"`
}

// compareCaption checks that an image has the words of the model, or the warning that it has none. Without captions and
// in a private batch, it has neither.
//
// A message that is delivered twice may go on without a caption first, and get one the second time. The job then still counts
// the image as uncaptioned, and its outputs differ. The other order would lose a caption.
func (r *run) compareCaption(j *jobResponse, b *batch, img *imageResponse, has texts) {
	captioned := len(has.Captioned) == 4 && has.Title == visiontest.Title
	warned := slices.ContainsFunc(has.Warnings, func(w string) bool { return strings.HasPrefix(w, "not captioned: ") })
	neither := len(has.Captioned) == 0 && !warned && !img.Uncaptioned
	switch wanted := r.captions && !b.private; {
	case !wanted && neither:
	case wanted && captioned && !warned && !img.Uncaptioned:
		r.count("captioned", 1)
	case wanted && captioned != warned && img.Uncaptioned:
		r.count("uncaptioned", 1)
		r.storage.forgive("/processed/" + r.prefix + img.ProcessedPath)
	default:
		r.breach("job %s: image %d is uncaptioned: %t, and its record has %+v; want a caption: %t", j.JobID, img.Index, img.Uncaptioned, has, wanted)
	}
}
