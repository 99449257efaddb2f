package captioner_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/analyzer/internal/captioner"
	"github.com/imagebatch/imagebatch/analyzer/internal/vision"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/dirstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// model answers after two seconds. fault, if it returns an error, comes before that.
type model struct {
	fault func(now time.Time) error

	mu      sync.Mutex
	answers int            // guarded by mu
	reasons map[string]int // guarded by mu
	tried   []vision.Tried // of each call; guarded by mu
}

func (*model) Request() string { return strings.Repeat("a", 64) }

func (m *model) Caption(ctx context.Context, _ []byte, tried vision.Tried) (vision.Answer, error) {
	m.mu.Lock()
	m.tried = append(m.tried, tried)
	m.mu.Unlock()
	if err := m.fault(time.Now()); err != nil {
		return vision.Answer{}, err
	}
	select {
	case <-time.After(2 * time.Second):
	case <-ctx.Done():
		return vision.Answer{}, ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers++
	return vision.Answer{Model: "m", Language: "en", Title: fmt.Sprint("Answer ", m.answers), Description: "A.", Keywords: []string{"a", "b"}, AltText: "A."}, nil
}

func (m *model) NotCaptioned(reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reasons[reason]++
}

func never(time.Time) error { return nil }

// decoder returns one pixel for any image.
type decoder struct{}

func (decoder) Upright(context.Context, []byte, int) (*image.NRGBA, error) {
	return image.NewNRGBA(image.Rect(0, 0, 1, 1)), nil
}

// failing is a store whose calls fail while err is set.
type failing struct {
	objectstore.Store
	mu      sync.Mutex // guards the fields below
	err     error
	damaged int // number of reads that return only the first byte
}

func (f *failing) Get(ctx context.Context, key string) (*objectstore.Object, error) {
	o, err := f.Store.Get(ctx, key)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil && f.damaged > 0 {
		f.damaged--
		o.Size = 1
	}
	return o, err
}

func (f *failing) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *failing) fault() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *failing) PutNew(ctx context.Context, key string, c objectstore.Content) error {
	if err := f.fault(); err != nil {
		return err
	}
	return f.Store.PutNew(ctx, key, c)
}

// rig is a caption step in a bubble with a fake clock.
type rig struct {
	t         *testing.T
	model     *model
	broker    *membroker.Broker
	originals *dirstore.Store
	processed *failing
	captioner *captioner.Captioner

	mu  sync.Mutex
	got []pipeline.Analysis // guarded by mu
	at  []time.Time         // guarded by mu
}

func inBubble(t *testing.T, fault func(time.Time) error, test func(r *rig, ctx context.Context, work *sync.WaitGroup)) {
	originals, processed := store(t), store(t)
	synctest.Test(t, func(t *testing.T) {
		r := &rig{
			t: t, model: &model{fault: fault, reasons: map[string]int{}}, broker: membroker.New(pipeline.WorkQueues()...),
			originals: originals, processed: &failing{Store: processed},
		}
		r.captioner = r.another()
		ctx, stop := context.WithCancel(t.Context())
		var work sync.WaitGroup
		work.Go(func() {
			err := r.broker.Consume(ctx, pipeline.MetadataGenerated.Name, 10, func(_ context.Context, dv broker.Delivery) error {
				var a pipeline.Analysis
				if err := json.Unmarshal(dv.Body, &a); err != nil {
					t.Error(err)
				}
				r.mu.Lock()
				defer r.mu.Unlock()
				r.got, r.at = append(r.got, a), append(r.at, time.Now())
				return dv.Ack()
			})
			if err != nil {
				t.Error(err)
			}
		})
		test(r, ctx, &work)
		stop()
		work.Wait()
		if err := r.broker.Close(); err != nil {
			t.Error(err)
		}
	})
}

func store(t *testing.T) *dirstore.Store {
	t.Helper()
	s, err := dirstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// another returns the step of another analyzer.
func (r *rig) another(change ...func(*captioner.Config)) *captioner.Captioner {
	c := captioner.Config{Fields: []string{"title", "description", "keywords", "alt_text"}, Keywords: 12, Pixels: 768, MaxWait: 10 * time.Minute}
	for _, f := range change {
		f(&c)
	}
	return captioner.New(c, captioner.Deps{
		Model: r.model, Decoder: decoder{}, Originals: r.originals,
		Answers: captioner.NewAnswers(r.processed, telemetry.NewRegistry()), Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
}

func (r *rig) run(ctx context.Context, work *sync.WaitGroup) {
	work.Go(func() {
		err := r.captioner.Run(ctx, stage.Deps{
			Broker: r.broker, Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry(), Concurrency: 1, Now: time.Now,
		}, 3*time.Minute)
		if err != nil {
			r.t.Error(err)
		}
	})
}

// analysis returns the analysis of a stored original. Equal shades are equal pictures.
func (r *rig) analysis(index, shade int) pipeline.Analysis {
	r.t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 8, 8))
	for i := range 64 {
		img.Set(i%8, i/8, color.RGBA{uint8(shade), uint8(shade >> 8 * 40), uint8(i), 255})
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 100}); err != nil {
		r.t.Fatal(err)
	}
	a := pipeline.Analysis{Upload: pipeline.Upload{Envelope: pipeline.NewEnvelope("550e8400-e29b-41d4-a716-446655440000", index, time.Now())}}
	a.OriginalPath, a.Size = fmt.Sprintf("originals/%d.jpg", index), int64(b.Len())
	sum := sha256.Sum256(b.Bytes())
	a.SHA256 = hex.EncodeToString(sum[:])
	a.Metadata.Title, a.Metadata.Composed = "JPEG image", []string{"title"}
	if err := r.originals.Put(r.t.Context(), a.OriginalPath, objectstore.Content{Data: b.Bytes(), Type: "image/jpeg"}); err != nil {
		r.t.Fatal(err)
	}
	return a
}

func (r *rig) publish(a pipeline.Analysis) {
	r.t.Helper()
	if err := stage.Publish(r.t.Context(), r.broker, pipeline.ImageDescribed, a); err != nil {
		r.t.Fatal(err)
	}
}

func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

const tooLate = "not captioned: the model did not answer in time"

// TestOutage verifies that an outage of an hour in the middle of 300 images fails and loses none:
// those that have waited for ten minutes continue without a caption, and all others get theirs.
func TestOutage(t *testing.T) {
	const images = 300
	var start time.Time
	down := func(now time.Time) bool {
		since := now.Sub(start)
		return since > 5*time.Minute && since < 65*time.Minute
	}
	inBubble(t, func(now time.Time) error {
		if down(now) {
			return &vision.Unavailable{Reason: "down", After: time.Minute, First: now}
		}
		return nil
	}, func(r *rig, ctx context.Context, work *sync.WaitGroup) {
		start = time.Now()
		r.run(ctx, work)
		for i := range images {
			r.publish(r.analysis(i, i))
		}
		settle(3 * time.Hour)
		if len(r.got) != images {
			t.Fatalf("%d images have ended, want %d", len(r.got), images)
		}
		seen := map[int]bool{}
		captioned, uncaptioned := 0, 0
		for i, a := range r.got {
			seen[a.Index] = true
			warned := slices.Contains(a.Metadata.Warnings, tooLate)
			switch {
			case a.Attempt != 1 || a.Wait != (pipeline.CaptionWait{}) || warned != a.Uncaptioned:
				t.Fatalf("image %d continues as attempt %d with %+v, warnings %q, uncaptioned %v", a.Index, a.Attempt, a.Wait, a.Metadata.Warnings, a.Uncaptioned)
			case a.Uncaptioned:
				uncaptioned++
				if waited := r.at[i].Sub(start) - 5*time.Minute; !down(r.at[i]) || waited < 10*time.Minute {
					t.Errorf("image %d continues without a caption %s after the start of the outage, want 10 minutes to an hour", a.Index, waited)
				}
				if a.Metadata.Title != "JPEG image" {
					t.Errorf("image %d has the title %q, want the composed one", a.Index, a.Metadata.Title)
				}
			default:
				captioned++
				if !strings.HasPrefix(a.Metadata.Title, "Answer") || down(r.at[i].Add(-3*time.Second)) {
					t.Errorf("image %d has the title %q at %s", a.Index, a.Metadata.Title, r.at[i].Sub(start))
				}
			}
		}
		if len(seen) != images || captioned < 140 || uncaptioned < 1 || captioned != r.model.answers || r.model.reasons[vision.ReasonTimeout] != uncaptioned {
			t.Errorf("%d different images, %d captioned with %d answers, %d not (%v)", len(seen), captioned, r.model.answers, uncaptioned, r.model.reasons)
		}
	})
}

// TestShortOutage verifies that images do not lose their captions to the queue: all started to wait
// in an outage of a minute, and most get their turn only when their time is over. Neither do they
// lose them to short faults that meet them then.
func TestShortOutage(t *testing.T) {
	var start time.Time
	tries := 0
	inBubble(t, func(now time.Time) error {
		if now.Sub(start) < time.Minute {
			return &vision.Unavailable{Reason: "down", After: time.Minute}
		}
		if tries++; tries%4 == 0 {
			return &vision.Unavailable{Reason: "one fault", After: 2 * time.Second, First: now}
		}
		time.Sleep(10 * time.Second)
		return nil
	}, func(r *rig, ctx context.Context, work *sync.WaitGroup) {
		start = time.Now()
		r.run(ctx, work)
		for i := range 100 {
			r.publish(r.analysis(i, i))
		}
		settle(time.Hour)
		if len(r.got) != 100 || r.model.answers != 100 || r.model.reasons[vision.ReasonTimeout] != 0 {
			t.Errorf("%d images with %d answers, %v; want 100 captioned ones", len(r.got), r.model.answers, r.model.reasons)
		}
	})
}

// TestLongQueue verifies for an image that always fails, and returns from a long queue each time, that it ends: after its
// second try in an outage, and after some more if others get their answers meanwhile.
func TestLongQueue(t *testing.T) {
	for name, test := range map[string]struct {
		others      bool // get answers
		least, most int  // tries
	}{"in an outage": {false, 2, 2}, "it alone fails": {true, 10, 21}} {
		t.Run(name, func(t *testing.T) {
			fails := true
			inBubble(t, func(now time.Time) error {
				if fails {
					return &vision.Unavailable{Reason: "down", After: time.Second, First: now}
				}
				return nil
			}, func(r *rig, ctx context.Context, _ *sync.WaitGroup) {
				a, tries := r.analysis(0, 0), 0
				for later := new(stage.Later); later != nil && tries < 100; tries++ {
					out, err := r.captioner.Step(ctx, a)
					if later, _ = errors.AsType[*stage.Later](err); later != nil {
						a, _ = later.Message.(pipeline.Analysis)
					} else if err != nil || !out.Uncaptioned {
						t.Fatalf("uncaptioned %t, %v; want no caption", out.Uncaptioned, err)
					}
					time.Sleep(20 * time.Minute)
					if fails = !test.others; test.others {
						if _, err := r.captioner.Step(ctx, r.analysis(1, tries+1)); err != nil {
							t.Fatal(err)
						}
					}
					fails = true
				}
				if tries < test.least || tries > test.most {
					t.Errorf("it ended after %d tries, want %d to %d", tries, test.least, test.most)
				}
			})
		})
	}
}

// TestOwnLimit verifies that a wait for our own limits never costs an image its caption, and that
// it does not circulate meanwhile more often than its deliveries last. What was tried stays known.
func TestOwnLimit(t *testing.T) {
	var start time.Time
	tries, tried := 0, vision.Tried{Model: "a", Unusable: true}
	inBubble(t, func(now time.Time) error {
		if tries++; now.Sub(start) < 8*time.Hour {
			return &vision.Unavailable{Reason: "CAPTION_REQUESTS_PER_DAY", After: start.Add(8 * time.Hour).Sub(now), Own: true, Tried: tried}
		}
		return nil
	}, func(r *rig, ctx context.Context, work *sync.WaitGroup) {
		start = time.Now()
		r.run(ctx, work)
		for i := range 20 {
			r.publish(r.analysis(i, i))
		}
		settle(10 * time.Hour)
		if len(r.got) != 20 || r.model.answers != 20 {
			t.Errorf("%d images with %d answers, want 20 captioned ones", len(r.got), r.model.answers)
		}
		if most := int(8 * time.Hour / (30 * time.Second)); tries > most {
			t.Errorf("%d tries in eight hours, want at most %d", tries, most)
		}
		if n := len(slices.DeleteFunc(r.model.tried, func(got vision.Tried) bool { return got == tried })); n != 20 {
			t.Errorf("%d calls do not know what was tried, want only the first one of each image", n)
		}
	})
}

// TestOneAnswerForEqualPictures verifies that an answer is paid for once: for other images with the
// same picture, for another analyzer, and for a message that arrives twice. Fewer keywords cost nothing.
func TestOneAnswerForEqualPictures(t *testing.T) {
	inBubble(t, never, func(r *rig, ctx context.Context, _ *sync.WaitGroup) {
		for i := range 4 {
			a, err := r.another().Step(ctx, r.analysis(i/2, 7))
			if err != nil || a.Metadata.Title != "Answer 1" || a.Uncaptioned {
				t.Errorf("image %d has the title %q and error %v, want the first answer", i, a.Metadata.Title, err)
			}
		}
		if a, err := r.captioner.Step(ctx, r.analysis(9, 8)); err != nil || a.Metadata.Title != "Answer 2" {
			t.Errorf("another picture has the title %q and error %v, want the second answer", a.Metadata.Title, err)
		}
		fewer := r.another(func(c *captioner.Config) { c.Keywords = 1 })
		if a, err := fewer.Step(ctx, r.analysis(10, 8)); err != nil || !slices.Equal(a.Metadata.Keywords, []string{"a"}) {
			t.Errorf("keywords %q and error %v, want the first one of the second answer", a.Metadata.Keywords, err)
		}
		if r.model.answers != 2 {
			t.Errorf("%d answers were paid for, want 2", r.model.answers)
		}
	})
}

// TestStoreOfAnswersIsDown verifies that an answer that cannot be stored is kept, and not paid for
// again when the store is back; and that a store that refuses it does not keep the image forever,
// which is not blamed on the model.
func TestStoreOfAnswersIsDown(t *testing.T) {
	for _, outage := range []time.Duration{5 * time.Minute, 30 * time.Minute} {
		t.Run(outage.String(), func(t *testing.T) {
			inBubble(t, never, func(r *rig, ctx context.Context, work *sync.WaitGroup) {
				r.processed.set(objectstore.ErrRefused)
				r.run(ctx, work)
				r.publish(r.analysis(0, 1))
				settle(outage)
				r.processed.set(nil)
				settle(time.Hour)
				late := outage > 10*time.Minute
				if len(r.got) != 1 || r.got[0].Uncaptioned != late || r.model.answers != 1 {
					t.Fatalf("%+v after %d answers, want one image, uncaptioned: %v", r.got, r.model.answers, late)
				}
				if late && (r.model.reasons[vision.ReasonStore] != 1 || !slices.Equal(r.got[0].Metadata.Warnings, []string{"not captioned: the store of answers failed"})) {
					t.Errorf("reasons %v, warnings %q; want the store", r.model.reasons, r.got[0].Metadata.Warnings)
				}
				if a, err := r.captioner.Step(ctx, r.analysis(1, 1)); err != nil || a.Uncaptioned || r.model.answers != 1 {
					t.Errorf("the same picture later: uncaptioned %t, %v after %d answers, want the first answer", a.Uncaptioned, err, r.model.answers)
				}
			})
		})
	}
}

// TestUnstoredAnswersAreBounded verifies that of the answers that wait for the store, the oldest is dropped.
func TestUnstoredAnswersAreBounded(t *testing.T) {
	inBubble(t, never, func(r *rig, ctx context.Context, _ *sync.WaitGroup) {
		answers := captioner.NewAnswers(r.processed, telemetry.NewRegistry())
		r.processed.set(objectstore.ErrRefused)
		key := func(i int) string { return pipeline.CaptionKey(fmt.Sprintf("%064x", i), r.model.Request()) }
		for i := range 1001 {
			if _, err := answers.Put(ctx, key(i), vision.Answer{Model: "m"}); !errors.Is(err, objectstore.ErrRefused) {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		r.processed.set(nil)
		for i, want := range map[int]error{0: objectstore.ErrNotExist, 1: nil, 1000: nil} {
			if _, err := answers.Get(ctx, key(i)); !errors.Is(err, want) {
				t.Errorf("answer %d: %v, want %v", i, err, want)
			}
		}
	})
}

// TestLoserUsesStoredAnswer verifies that of two analyzers that ask at the same time, both use the
// answer that was stored first, so that equal pictures have equal words.
func TestLoserUsesStoredAnswer(t *testing.T) {
	inBubble(t, never, func(r *rig, ctx context.Context, _ *sync.WaitGroup) {
		var work sync.WaitGroup
		titles := make([]string, 4)
		for i := range titles {
			a, step := r.analysis(i, 3), r.another()
			work.Go(func() {
				out, err := step.Step(ctx, a)
				if err != nil {
					t.Error(err)
				}
				titles[i] = out.Metadata.Title
			})
		}
		work.Wait()
		if slices.Sort(titles); titles[0] != titles[3] || r.model.answers != 4 {
			t.Errorf("titles %q after %d answers, want equal ones after 4", titles, r.model.answers)
		}
	})
}

// TestContinuesWithout verifies which images continue without a caption, and that nothing is read
// or sent for those that need none.
func TestContinuesWithout(t *testing.T) {
	no := false
	for name, c := range map[string]struct {
		fault   error
		change  func(r *rig, a *pipeline.Analysis)
		reason  string
		warning string
	}{
		"refused":       {&vision.Uncaptioned{Reason: vision.ReasonRefused}, nil, vision.ReasonRefused, "not captioned: the model refused to describe the image"},
		"configuration": {&vision.Uncaptioned{Reason: vision.ReasonConfiguration}, nil, vision.ReasonConfiguration, "not captioned: captioning is configured wrongly"},
		"opted out":     {errors.New("must not be asked"), func(_ *rig, a *pipeline.Analysis) { a.Captions = &no }, vision.ReasonDisabled, ""},
		"complete": {errors.New("must not be asked"), func(_ *rig, a *pipeline.Analysis) {
			a.Metadata = pipeline.Metadata{Title: "T", Description: "D", Keywords: []string{"k"}, AltText: "A"}
		}, vision.ReasonComplete, ""},
		"other bytes": {errors.New("must not be asked"), func(_ *rig, a *pipeline.Analysis) {
			a.SHA256, a.Attempt = strings.Repeat("0", 64), pipeline.MaxAttempts
		}, vision.ReasonUnreadable, "not captioned: the image could not be prepared for the model"},
		"gone": {errors.New("must not be asked"), func(r *rig, a *pipeline.Analysis) {
			if err := r.originals.Delete(r.t.Context(), a.OriginalPath); err != nil {
				r.t.Fatal(err)
			}
		}, vision.ReasonUnreadable, "not captioned: the image could not be prepared for the model"},
		"many warnings": {&vision.Uncaptioned{Reason: vision.ReasonRefused}, func(_ *rig, a *pipeline.Analysis) {
			a.Metadata.Warnings = slices.Repeat([]string{"odd"}, 20)
		}, vision.ReasonRefused, "not captioned: the model refused to describe the image"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(time.Time) error { return c.fault }, func(r *rig, ctx context.Context, _ *sync.WaitGroup) {
				a := r.analysis(0, 0)
				if c.change != nil {
					c.change(r, &a)
				}
				title := a.Metadata.Title
				out, err := r.captioner.Step(ctx, a)
				if err != nil || out.Metadata.Title != title || r.model.reasons[c.reason] != 1 {
					t.Fatalf("title %q, reasons %v and error %v; want the title %q and the reason %s", out.Metadata.Title, r.model.reasons, err, title, c.reason)
				}
				warned := slices.DeleteFunc(out.Metadata.Warnings, func(w string) bool { return w == "odd" })
				if strings.Join(warned, "|") != c.warning || out.Uncaptioned != (c.warning != "") || len(out.Metadata.Warnings) > 20 {
					t.Errorf("warnings %q, uncaptioned %v; want %q", warned, out.Uncaptioned, c.warning)
				}
			})
		})
	}
}

// TestOtherBytes verifies that an original that is read wrongly once gets its caption when it is read again.
func TestOtherBytes(t *testing.T) {
	inBubble(t, never, func(r *rig, ctx context.Context, work *sync.WaitGroup) {
		a := r.analysis(0, 1)
		right, err := objectstore.ReadAll(ctx, r.originals, a.OriginalPath, a.Size)
		if err == nil {
			err = r.originals.Put(ctx, a.OriginalPath, objectstore.Content{Data: right[:len(right)/2], Type: "image/jpeg"})
		}
		if err != nil {
			t.Fatal(err)
		}
		r.run(ctx, work)
		r.publish(a)
		settle(500 * time.Millisecond)
		if err := r.originals.Put(ctx, a.OriginalPath, objectstore.Content{Data: right, Type: "image/jpeg"}); err != nil {
			t.Fatal(err)
		}
		settle(time.Minute)
		if len(r.got) != 1 || r.got[0].Uncaptioned || r.got[0].Metadata.Title != "Answer 1" || r.got[0].Attempt != 1 {
			t.Errorf("%+v, want one image with its caption", r.got)
		}
	})
}

// TestLaterCopyKeepsCaption verifies that a message that is delivered twice does not lose the caption that its
// other copy gets while the model refuses this one.
func TestLaterCopyKeepsCaption(t *testing.T) {
	var r *rig
	inside := false
	inBubble(t, func(time.Time) error {
		if inside {
			return nil
		}
		inside = true
		if a, err := r.another().Step(r.t.Context(), r.analysis(0, 1)); err != nil || a.Uncaptioned {
			r.t.Errorf("the other copy: %+v, %v", a, err)
		}
		return &vision.Uncaptioned{Reason: vision.ReasonRefused}
	}, func(inner *rig, ctx context.Context, _ *sync.WaitGroup) {
		r = inner
		a, err := r.captioner.Step(ctx, r.analysis(0, 1))
		if err != nil || a.Uncaptioned || a.Metadata.Title != "Answer 1" || len(a.Metadata.Warnings) > 0 || len(r.model.reasons) > 0 {
			t.Errorf("title %q, uncaptioned %t, warnings %q, %v; want the first answer", a.Metadata.Title, a.Uncaptioned, a.Metadata.Warnings, err)
		}
	})
}

// TestDeadlyImage verifies that an image is asked about again after a first death of its process, and
// continues without a caption after a second one, alone in the quarantine queue, unless its answer is stored.
func TestDeadlyImage(t *testing.T) {
	inBubble(t, never, func(r *rig, ctx context.Context, work *sync.WaitGroup) {
		die := func(queue string, messages int) {
			dying, die := context.WithCancel(ctx)
			taken := make(chan struct{}, messages)
			ended := make(chan error, 1)
			go func() {
				ended <- r.broker.Consume(dying, queue, messages, func(context.Context, broker.Delivery) error {
					taken <- struct{}{}
					return nil // without an ack
				})
			}()
			for range messages {
				<-taken
			}
			die()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		}
		quarantine := broker.QuarantineQueue(pipeline.ImageDescribed.Name)
		answered := r.analysis(2, 2)
		if _, err := r.captioner.Step(ctx, answered); err != nil {
			t.Fatal(err)
		}
		for _, a := range []pipeline.Analysis{r.analysis(1, 1), answered} {
			twice, err := json.Marshal(a)
			if err == nil {
				err = r.broker.Publish(ctx, quarantine, broker.Message{Body: twice})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		die(quarantine, 2)
		r.publish(r.analysis(0, 0))
		die(pipeline.ImageDescribed.Name, 1)
		r.run(ctx, work)
		settle(time.Minute)
		if len(r.got) != 3 || r.model.answers != 2 || r.model.reasons[vision.ReasonUnreadable] != 1 {
			t.Fatalf("%d images continue after %d answers, reasons %v; want 3, 2 and one unreadable", len(r.got), r.model.answers, r.model.reasons)
		}
		for _, a := range r.got {
			if a.Uncaptioned != (a.Index == 1) {
				t.Errorf("image %d: uncaptioned %v, want %v", a.Index, a.Uncaptioned, a.Index == 1)
			}
		}
	})
}

// TestDamagedRead verifies that an answer that arrives damaged twice is neither paid for again nor replaced.
func TestDamagedRead(t *testing.T) {
	inBubble(t, never, func(r *rig, ctx context.Context, _ *sync.WaitGroup) {
		for i := range 2 {
			a, err := r.captioner.Step(ctx, r.analysis(i, 5))
			if err != nil || a.Metadata.Title != "Answer 1" {
				t.Errorf("title %q and error %v, want the first answer", a.Metadata.Title, err)
			}
			r.processed.damaged = 2
		}
	})
}

// TestInvalidAnswerIsReplaced verifies that an object that is no answer does not keep its picture
// from ever getting one.
func TestInvalidAnswerIsReplaced(t *testing.T) {
	inBubble(t, never, func(r *rig, ctx context.Context, _ *sync.WaitGroup) {
		first := r.analysis(0, 5)
		if _, err := r.captioner.Step(ctx, first); err != nil {
			t.Fatal(err)
		}
		var key string
		for info, err := range r.processed.List(ctx, pipeline.CaptionsPrefix) {
			if err != nil {
				t.Fatal(err)
			}
			key = info.Key
		}
		if err := r.processed.Put(ctx, key, objectstore.Content{Data: []byte("{"), Type: ""}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if a, err := r.captioner.Step(ctx, first); err != nil || a.Metadata.Title != "Answer 2" {
				t.Errorf("title %q and error %v, want the second answer", a.Metadata.Title, err)
			}
		}
	})
}

// slow is a model that answers only when its context ends.
type slow struct{ *model }

func (slow) Caption(ctx context.Context, _ []byte, _ vision.Tried) (vision.Answer, error) {
	<-ctx.Done()
	return vision.Answer{}, ctx.Err()
}

// TestDrain verifies that the end of the process neither waits for a slow model nor starts the clock
// of its image.
func TestDrain(t *testing.T) {
	inBubble(t, never, func(r *rig, _ context.Context, work *sync.WaitGroup) {
		r.captioner = captioner.New(captioner.Config{Fields: []string{"title"}, Keywords: 12, MaxWait: time.Minute}, captioner.Deps{
			Model: slow{r.model}, Decoder: decoder{}, Originals: r.originals,
			Answers: captioner.NewAnswers(r.processed, telemetry.NewRegistry()), Log: slog.New(slog.DiscardHandler), Now: time.Now,
		})
		ctx, stop := context.WithCancel(r.t.Context())
		var running sync.WaitGroup
		r.run(ctx, &running)
		r.publish(r.analysis(0, 0))
		settle(time.Second)
		start := time.Now()
		stop()
		running.Wait()
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("the step ended after %s, want at most 20 s", took)
		}
		settle(20 * time.Second)
		ctx, stop = context.WithCancel(r.t.Context())
		var message pipeline.Analysis
		work.Go(func() {
			_ = r.broker.Consume(ctx, pipeline.ImageDescribed.Name, 1, func(_ context.Context, dv broker.Delivery) error {
				if err := json.Unmarshal(dv.Body, &message); err != nil || dv.Redelivered {
					t.Errorf("error %v, redelivered %v; want the message from a retry queue", err, dv.Redelivered)
				}
				return dv.Ack()
			})
		})
		settle(time.Second)
		stop()
		if message.Attempt != 1 || message.Wait != (pipeline.CaptionWait{}) {
			t.Errorf("the message has attempt %d and %+v, want 1 and no wait", message.Attempt, message.Wait)
		}
	})
}

// TestPass verifies that an analyzer without captions passes on what an analyzer with captions has left, and
// that it works next to a gateway that does not declare the queue yet.
func TestPass(t *testing.T) {
	inBubble(t, never, func(r *rig, ctx context.Context, work *sync.WaitGroup) {
		deps := stage.Deps{Broker: r.broker, Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry(), Concurrency: 2, Now: time.Now}
		work.Go(func() {
			if err := captioner.Pass(ctx, deps); err != nil {
				r.t.Error(err)
			}
		})
		a := r.analysis(0, 0)
		a.Wait = a.Wait.Start(time.Now())
		r.publish(a)
		settle(time.Second)
		if len(r.got) != 1 || r.got[0].Uncaptioned || r.got[0].Wait != (pipeline.CaptionWait{}) || r.got[0].Metadata.Title != "JPEG image" {
			t.Errorf("passed on: %+v, want the image as it was", r.got)
		}

		older := membroker.New(pipeline.ImageUpload.Name)
		defer older.Close() //nolint:errcheck // It stores nothing.
		deps.Broker = older
		short, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- captioner.Pass(short, deps) }()
		settle(time.Minute)
		select {
		case err := <-ended:
			t.Errorf("without the queue, Pass ends with %v", err)
		default:
			stop()
			if err := <-ended; err != nil {
				t.Errorf("Pass = %v at the end of its context", err)
			}
		}
		stop()
	})
}
