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

// forgetAfter is how long a death is recorded. By then, the message is no longer sent
// again.
const forgetAfter = 24 * time.Hour

// deathLog records in a folder which messages are in flight, so that the next process
// knows which of them were in flight when this one died. A real broker knows this by
// itself; this broker dies with its consumers. The folder has a file for each message
// in flight. The length of the file is the number of processes, including this one,
// that had the message and have not acked it.
//
// The files survive the death of the process, which a message can cause. They need not
// survive a crash of the machine: a lost file allows a poison message one more death.
//
// A message is identified by its queue and by the trace ID in its traceparent, which is
// the image's. The span ID in the traceparent differs each time the message is sent. A
// message without a traceparent is not recorded. A nil deathLog records no messages.
type deathLog struct {
	dir    string
	deaths map[string]int // deaths by file name, as found at the start; guarded by the Broker's mu
}

func openDeathLog(dir string) (*deathLog, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("create folder of messages in flight: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read messages in flight: %w", err)
	}
	l := &deathLog{dir: dir, deaths: map[string]int{}}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read messages in flight: %w", err)
		}
		if time.Since(info.ModTime()) > forgetAfter {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return nil, fmt.Errorf("remove expired message in flight: %w", err)
			}
			continue
		}
		l.deaths[e.Name()] = int(info.Size())
	}
	return l, nil
}

// file returns the file name for the message on the queue, or "" for a message that is
// not recorded.
func (l *deathLog) file(queue string, msg *message) string {
	traceparent := msg.headers["traceparent"]
	if l == nil || traceparent == "" {
		return ""
	}
	trace := traceparent
	if parts := strings.Split(traceparent, "-"); len(parts) > 1 {
		trace = parts[1]
	}
	sum := sha256.Sum256([]byte(queue + " " + trace))
	return hex.EncodeToString(sum[:16])
}

// count returns how many processes died with the message in flight, on the queue or on
// its quarantine queue. The caller holds the Broker's mu.
func (l *deathLog) count(queue string, msg *message) int {
	if l == nil {
		return 0
	}
	return l.deaths[l.file(queue, msg)] + l.deaths[l.file(broker.QuarantineQueue(queue), msg)]
}

// start records that the message is in flight. An error, such as a full disk, is
// ignored: if the process dies, the message is sent again as if it had not been in
// flight.
func (l *deathLog) start(file string) {
	if file == "" {
		return
	}
	f, err := os.OpenFile(filepath.Join(l.dir, file), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, _ = f.Write([]byte{'+'})
	_ = f.Close()
}

// end records that the message is no longer in flight and did not kill the process.
// before is the number of deaths at its delivery.
func (l *deathLog) end(file string, before int) {
	if file == "" {
		return
	}
	path := filepath.Join(l.dir, file)
	// An error leaves a file that counts too many deaths. A message becomes a dead
	// letter only after several of them, and the file expires after a day.
	if before == 0 {
		_ = os.Remove(path)
		return
	}
	_ = os.Truncate(path, int64(before))
}
