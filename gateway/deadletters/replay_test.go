package deadletters

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// poisoned creates a job with three images. Two of them have died and ended as failed,
// and the third is still open.
func poisoned(t *testing.T) (r *rig, id string, third broker.Message) {
	t.Helper()
	r = setup(t)
	id = r.submit("poison-1.png", "good.png", "poison-2.png")
	for _, m := range r.uploads(3) {
		if strings.Contains(string(m.Body), "good") {
			third = m
		} else {
			r.kill(m)
		}
	}
	r.await(id, failed(2))
	return r, id, third
}

// end fails an image as an analyzer does.
func (r *rig) end(m broker.Message) {
	r.Helper()
	var u pipeline.Upload
	r.must(json.Unmarshal(m.Body, &u))
	body, err := json.Marshal((&pipeline.Failure{Code: pipeline.CodeDamaged, Text: "Damaged image"}).Result(u.Envelope, time.Now()))
	r.must(err)
	r.must(r.broker.Publish(r.Context(), pipeline.ImageProcessed.Name, broker.Message{Body: body}))
}

func TestReplay(t *testing.T) {
	r, id, third := poisoned(t)
	r.expect("list", exitDone, id, "poison-1.png", "poison-2.png", "delivery_limit in image_upload.suspect", "2 dead letters")
	r.expect("replay -wait 0s", exitLeft, "its job still runs", "2 dead letters: 0 replayed, 0 dropped, 2 left")
	r.end(third)
	r.await(id, failed(3))

	for range 2 {
		r.expect("replay -dry-run", exitDone, "would be retried", "2 replayed, 0 dropped, 0 left; this was a dry run")
	}
	if n := len(r.jobs()); n != 1 || r.dead() != 2 {
		t.Fatalf("after a dry run: %d jobs and %d dead letters, want 1 and 2", n, r.dead())
	}
	r.expect("replay", exitDone, "retried: its job's failed images are job ", "2 dead letters: 2 replayed, 0 dropped, 0 left")
	jobs := r.jobs()
	if len(jobs) != 2 || jobs[0].RetryOf != id || len(jobs[0].Images) != 3 || r.dead() != 0 {
		t.Fatalf("after the replay: %d dead letters and the jobs %+v, want 0 and 2 jobs", r.dead(), jobs)
	}
	r.expect("replay", exitDone, "0 dead letters: 0 replayed")
	if again := r.jobs(); len(again) != 2 {
		t.Errorf("after a second replay: jobs %+v, want 2", again)
	}
}

// ackLosing is a broker that loses acks, as if its client had been killed.
type ackLosing struct{ deadLetterBroker }

var errKilled = errors.New("killed")

func (b ackLosing) Browse(ctx context.Context, queue string, most int, handle func(context.Context, broker.Letter) error) error {
	return b.deadLetterBroker.Browse(ctx, queue, most, func(ctx context.Context, l broker.Letter) error {
		l.Ack = func() error { return errKilled }
		return handle(ctx, l)
	})
}

func TestReplayKilledBeforeItsAck(t *testing.T) {
	r, id, third := poisoned(t)
	r.end(third)
	r.await(id, failed(3))
	for range 2 {
		if code, output, err := r.run(ackLosing{r.broker}, "replay"); code != exitError || !errors.Is(err, errKilled) || r.dead() != 2 {
			t.Fatalf("replay: exit code %d and %v:\n%s", code, err, output)
		}
	}
	r.expect("replay", exitDone, "2 replayed")
	if jobs := r.jobs(); len(jobs) != 2 || r.dead() != 0 {
		t.Errorf("after three replays: jobs %+v and %d dead letters, want 2 jobs and 0", jobs, r.dead())
	}
}

// copies returns the same dead letters to every reader, which no real broker does.
type copies struct {
	deadLetterBroker
	letters []broker.Letter
}

func (c copies) Browse(ctx context.Context, queue string, _ int, handle func(context.Context, broker.Letter) error) error {
	if queue != broker.DeadQueue(pipeline.ImageUpload.Name) {
		return nil
	}
	for _, l := range c.letters {
		l.Ack = func() error { return nil }
		if err := handle(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

func TestConcurrentReplays(t *testing.T) {
	r, id, third := poisoned(t)
	r.end(third)
	r.await(id, failed(3))
	c := copies{deadLetterBroker: r.broker}
	r.must(r.broker.Browse(t.Context(), broker.DeadQueue(pipeline.ImageUpload.Name), broker.MaxBrowse, func(_ context.Context, l broker.Letter) error {
		c.letters = append(c.letters, l)
		return nil
	}))
	var operators sync.WaitGroup
	for range 4 {
		operators.Go(func() {
			if code, output, err := r.run(c, "replay"); err != nil || code != exitDone {
				t.Errorf("replay: exit code %d and %v:\n%s", code, err, output)
			}
		})
	}
	operators.Wait()
	if jobs := r.jobs(); len(jobs) != 2 {
		t.Errorf("after four concurrent replays: jobs %+v, want 2", jobs)
	}
}

func TestReplayOfAQueueInUse(t *testing.T) {
	r := setup(t)
	r.bury("x")
	r.must(r.broker.Browse(t.Context(), broker.DeadQueue(pipeline.ImageUpload.Name), broker.MaxBrowse, func(context.Context, broker.Letter) error {
		if code, _, err := r.run(r.broker, "replay -drop"); code != exitError || !errors.Is(err, broker.ErrInUse) {
			t.Errorf("replay: exit code %d and %v, want an error", code, err)
		}
		return nil
	}))
}

// TestReplayOfAnOpenImage verifies that its message is published as a new one.
func TestReplayOfAnOpenImage(t *testing.T) {
	r := setup(t)
	id := r.submit("open.png")
	first := r.uploads(1)[0]
	r.bury(message(id, 0, `,"original_filename":"open.png","later":[1]`))
	r.expect("replay -dry-run", exitDone, "would be published")
	started := time.Now().Truncate(time.Millisecond)
	r.expect("replay -wait 0s", exitDone, "published: its image is still open; returned to image_upload")
	again := r.uploads(1)[0]
	var m struct {
		pipeline.Upload
		Later []int
	}
	r.must(json.Unmarshal(again.Body, &m))
	if m.Attempt != 1 || m.Timestamp.Before(started) || m.JobID != id || m.OriginalFilename != "open.png" || len(m.Later) != 1 {
		t.Errorf("got message %s, want a new one of the same image", again.Body)
	}
	if len(again.Headers) != 1 || again.Headers["traceparent"] != first.Headers["traceparent"] {
		t.Errorf("got headers %v, want the original traceparent only", again.Headers)
	}
	if r.dead() != 0 || len(r.jobs()) != 1 {
		t.Errorf("got %d dead letters and %d jobs, want 0 and 1", r.dead(), len(r.jobs()))
	}
}

// TestReplayWaitsForTheEnd verifies that an image whose death is being settled is retried
// and not published again.
func TestReplayWaitsForTheEnd(t *testing.T) {
	r := setup(t)
	id := r.submit("late.png")
	m := r.uploads(1)[0]
	r.bury(message(id, 0, ""))
	time.AfterFunc(50*time.Millisecond, func() { r.end(m) })
	r.expect("replay -wait 30s", exitDone, "retried")
	if jobs := r.jobs(); len(jobs) != 2 || jobs[0].RetryOf != id {
		t.Errorf("got jobs %+v, want the job and its retry", jobs)
	}
}

func TestReplayLeavesWhatItCannotReplay(t *testing.T) {
	r := setup(t)
	cancelled := r.submit("cancelled.png")
	r.uploads(1)
	r.call(http.MethodPost, "/api/v1/batch/"+cancelled+"/cancel", nil, new(struct{}))
	r.bury("\x1b[31mno JSON")
	r.bury(`{"version":1}`)
	r.bury(message("0d1f6c1e-0000-4000-8000-000000000000", 0, ""))
	r.bury(message("../../etc", 0, ""))
	r.bury(strings.Replace(message(cancelled, 0, ""), `"version":1`, `"version":99`, 1))
	r.bury(message(cancelled, 7, ""))
	r.bury(message(cancelled, 0, ""))
	for _, args := range []string{"replay", "replay -queue image_upload.dead"} {
		r.expect(args, exitLeft, "invalid message: invalid character", "it identifies no image", "unsupported message version 99",
			"its job is unknown", "its job was cancelled", "7 dead letters: 0 replayed, 0 dropped, 7 left")
	}
	r.expect("replay -drop -job "+cancelled+" -trace "+string(pipeline.NewTraceID(cancelled, 7)), exitDone, "1 dropped")
	r.expect("replay -drop", exitDone, "dropped", "6 dead letters: 0 replayed, 6 dropped, 0 left")
	if r.dead() != 0 || len(r.jobs()) != 1 {
		t.Errorf("got %d dead letters and %d jobs, want 0 and 1", r.dead(), len(r.jobs()))
	}
}

func TestReplayWithoutAGateway(t *testing.T) {
	r, id, third := poisoned(t)
	r.end(third)
	r.await(id, failed(3))
	r.url = "http://127.0.0.1:1"
	if code, output, err := r.run(r.broker, "replay"); code != exitError || err == nil || r.dead() != 2 {
		t.Errorf("replay: exit code %d and %v, %d dead letters left:\n%s", code, err, r.dead(), output)
	}
}

func TestReplayKeepsItsRate(t *testing.T) {
	r := setup(t)
	for i := range 4 {
		r.bury(message("0d1f6c1e-0000-4000-8000-000000000000", i, ""))
	}
	started := time.Now()
	r.expect("replay -rate 20/s", exitLeft, "4 dead letters")
	if took := time.Since(started); took < 3*50*time.Millisecond {
		t.Errorf("four dead letters at 20/s took %s", took)
	}
}

// slow is a broker that takes six minutes for each dead letter, so that a round handles
// two of them.
type slow struct {
	deadLetterBroker
	replay *replay
}

func (s *slow) Browse(ctx context.Context, queue string, most int, handle func(context.Context, broker.Letter) error) error {
	return s.deadLetterBroker.Browse(ctx, queue, most, func(ctx context.Context, l broker.Letter) error {
		before := maps.Clone(s.replay.counts)
		err := handle(ctx, l)
		if !maps.Equal(s.replay.counts, before) {
			s.replay.roundStart = s.replay.roundStart.Add(-6 * time.Minute)
		}
		return err
	})
}

// TestDryRunOfManyRounds verifies that a dry run, which removes no dead letters, ends and
// counts each dead letter once, including duplicates.
func TestDryRunOfManyRounds(t *testing.T) {
	r := setup(t)
	id := r.submit("open.png")
	r.uploads(1)
	r.bury("invalid")
	r.bury("invalid")
	for i := range 5 {
		r.bury(message(id, 0, fmt.Sprintf(`,"later":%d`, i)))
	}
	o, err := parse([]string{"replay", "-dry-run", "-wait", "0s"})
	r.must(err)
	var out strings.Builder
	b := &slow{deadLetterBroker: r.broker}
	b.replay = newReplay(newTool(o, b, r.url, r.key, &out))
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	if code, err := b.replay.run(ctx); code != exitDone || err != nil || b.replay.round < 3 {
		t.Errorf("a dry run of %d rounds: exit code %d and %v", b.replay.round, code, err)
	}
	if want := "7 dead letters: 5 replayed, 0 dropped, 2 left"; !strings.Contains(out.String(), want) || r.dead() != 7 {
		t.Errorf("%q is missing:\n%s", want, out.String()[max(0, out.Len()-2000):])
	}
}
