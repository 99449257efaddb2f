package deadletters

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/deadletter"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func TestListJSON(t *testing.T) {
	r := setup(t)
	id := "0d1f6c1e-0000-4000-8000-000000000000"
	r.bury(message(id, 3, `,"original_filename":"a.png"`))
	r.bury("[")
	_, output, err := r.run(r.broker, "list -json")
	r.must(err)
	lines := strings.Split(strings.TrimSpace(output), "\n")
	if len(lines) != 2 {
		t.Fatalf("got %d lines, want 2:\n%s", len(lines), output)
	}
	var e deadletter.Entry
	r.must(json.Unmarshal([]byte(lines[0]), &e))
	want := deadletter.Entry{
		Queue: "image_upload", DiedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), JobID: id, TraceID: string(pipeline.NewTraceID(id, 3)),
		Index: 3, Filename: "a.png", Attempt: 5, Reason: "failed 5 times", Bytes: len(message(id, 3, `,"original_filename":"a.png"`)),
	}
	if e != want {
		t.Errorf("got entry %+v\nwant      %+v", e, want)
	}
	r.must(json.Unmarshal([]byte(lines[1]), &e))
	if !strings.Contains(e.Fault, "invalid message") {
		t.Errorf("got entry %+v, want one with a fault", e)
	}
}

// TestListEscapesControlCharacters verifies that a file name cannot move the terminal's
// cursor.
func TestListEscapesControlCharacters(t *testing.T) {
	r := setup(t)
	r.bury(message("j", 0, `,"original_filename":"\u001b[2J`+strings.Repeat("x", 100_000)+`"`))
	_, output, err := r.run(r.broker, "list")
	r.must(err)
	if strings.Contains(output, "\x1b") || len(output) > 1000 || !strings.Contains(output, "?[2Jxxx") {
		t.Errorf("%d bytes: %.300q", len(output), output)
	}
}

func TestShow(t *testing.T) {
	r, id, _ := poisoned(t)
	r.expect("show -trace "+string(pipeline.NewTraceID(id, 2)), exitDone,
		`"queue": "image_upload.suspect"`, `"reason": "delivery_limit"`, `"traceparent": "00-`, `"sha256": "`, `"original_filename": "poison-2.png"`)
	r.expect("show -job none", exitLeft)

	r.bury(message("j", 0, `,"thumbnail":"`+strings.Repeat("A", 60_000)+`"`))
	r.bury(strings.Repeat("\xff", 1<<20))
	_, output, err := r.run(r.broker, "show -job j")
	r.must(err)
	if !strings.Contains(output, "A… (60000 bytes)") || len(output) > 2000 {
		t.Errorf("%d bytes: %.2000s", len(output), output)
	}
	if _, output, err = r.run(r.broker, "show"); err != nil || len(output) > 300<<10 {
		t.Errorf("%d bytes, %v", len(output), err)
	}
}

func TestArguments(t *testing.T) {
	for args, want := range map[string]int{
		"": exitUsage, "bury": exitUsage, "list -rate fast": exitUsage, "list -rate 0/s": exitUsage, "list -drop": exitUsage,
		"replay -queue none": exitUsage, "replay -wait -1s": exitUsage, "show 1": exitUsage, "help": exitDone, "list -h": exitDone,
	} {
		var out, complaint strings.Builder
		code := Main(t.Context(), strings.Fields(args), nil, &out, &complaint)
		if code != want || !strings.Contains(out.String()+complaint.String(), "usage: gateway dead-letters list") {
			t.Errorf("%q: exit code %d, want %d:\n%s%s", args, code, want, &out, &complaint)
		}
	}
	for text, want := range map[string]time.Duration{"10": 100 * time.Millisecond, "4/s": 250 * time.Millisecond, "30/m": 2 * time.Second} {
		if pause, err := parseRate(text); err != nil || pause != want {
			t.Errorf("-rate %s: got %s, %v; want %s", text, pause, err, want)
		}
	}
	var out, complaint strings.Builder
	environ := []string{"HTTP_ADDR=:8080", "RABBITMQ_URL=http://x", "GATEWAY_URL=ftp://x"}
	if code := Main(t.Context(), []string{"list"}, environ, &out, &complaint); code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
	for _, want := range []string{"RABBITMQ_URL", "GATEWAY_URL"} {
		if !strings.Contains(complaint.String(), want) {
			t.Errorf("%s is missing in %s", want, &complaint)
		}
	}
}
