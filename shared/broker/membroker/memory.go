package membroker

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// forgetAfter is how long it is remembered who was in hand at a death. By then
// nobody sends the message again.
const forgetAfter = 24 * time.Hour

// memory remembers in a folder which messages were in hand when the process died:
// the one thing that a real broker knows of a consumer's death and that would else
// die with this one. There is a file for each message in hand, and its length is
// how often a process has had it without acking it, the present one included.
//
// It outlives a process, which is what a message can kill, and need not outlive
// the machine: a file that is lost costs a poison message one more death.
//
// A message is known again by its queue and by the trace in its traceparent, which
// is the image's; one without is not remembered. The span that stands there beside
// the trace is another one each time that the message is sent. A nil memory
// remembers nothing.
type memory struct {
	dir    string
	deaths map[string]int // by file, as found at the start; the Broker's mu guards it
}

func openMemory(dir string) (*memory, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make folder of messages in hand: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read messages in hand: %w", err)
	}
	m := &memory{dir: dir, deaths: map[string]int{}}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read messages in hand: %w", err)
		}
		if time.Since(info.ModTime()) > forgetAfter {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return nil, fmt.Errorf("forget a message in hand: %w", err)
			}
			continue
		}
		m.deaths[e.Name()] = int(info.Size())
	}
	return m, nil
}

// file names the message on the queue, "" for one that is not remembered.
func (m *memory) file(queue string, msg *message) string {
	traceparent := msg.headers["traceparent"]
	if m == nil || traceparent == "" {
		return ""
	}
	trace := traceparent
	if parts := strings.Split(traceparent, "-"); len(parts) > 1 {
		trace = parts[1]
	}
	sum := sha256.Sum256([]byte(queue + " " + trace))
	return hex.EncodeToString(sum[:16])
}

// died is how many processes have died with the message in hand, on the queue or
// as a suspect of it. The Broker's mu is held.
func (m *memory) died(queue string, msg *message) int {
	if m == nil {
		return 0
	}
	return m.deaths[m.file(queue, msg)] + m.deaths[m.file(broker.QuarantineQueue(queue), msg)]
}

// take notes that the message is in hand now. What cannot be noted, because the
// disk is full, only makes this process's death go unseen: the message is then
// sent again as one that nobody suspects.
func (m *memory) take(file string) {
	if file == "" {
		return
	}
	f, err := os.OpenFile(filepath.Join(m.dir, file), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, _ = f.Write([]byte{'+'})
	_ = f.Close()
}

// release notes that the message is no longer in hand, and nothing has died with
// it: before is what was known at its delivery.
func (m *memory) release(file string, before int) {
	if file == "" {
		return
	}
	path := filepath.Join(m.dir, file)
	// An error leaves a file that says too much; a message is given up after several
	// of those, and a file is forgotten after a day.
	if before == 0 {
		_ = os.Remove(path)
		return
	}
	_ = os.Truncate(path, int64(before))
}
