package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// bar is the progress of a command: a line on a terminal that changes in place. Without a
// terminal it prints nothing, and only the lines about jobs remain.
type bar struct {
	a     *app
	width func() int // columns of the terminal; nil without one
	stop  chan struct{}
	wg    sync.WaitGroup
	now   func() time.Time

	// The mutex of the app guards the fields below.
	total, done, failed int
	size, sent          int64 // bytes of local images
	samples             []sample
}

// sample is the state at a time, for the rate.
type sample struct {
	at   time.Time
	done int
}

// rateWindow is the time over which the rate is computed, and sampleTime that between two
// samples.
const (
	rateWindow = 20 * time.Second
	redraw     = 200 * time.Millisecond
	sampleTime = time.Second
)

// startBar starts a bar on standard error.
func (a *app) startBar(total int, size int64) *bar {
	b := &bar{a: a, total: total, size: size, stop: make(chan struct{}), now: time.Now}
	if f, ok := a.stderr.(*os.File); ok && !a.quiet && term.IsTerminal(int(f.Fd())) && a.variable("TERM") != "dumb" {
		b.width = func() int {
			columns, _, err := term.GetSize(int(f.Fd()))
			if err != nil || columns <= 0 {
				return 80
			}
			return columns
		}
	}
	a.mu.Lock()
	a.bar = b
	b.samples = []sample{{b.now(), 0}}
	a.mu.Unlock()
	if b.width == nil {
		return b
	}
	b.wg.Go(func() {
		ticker := time.NewTicker(redraw)
		defer ticker.Stop()
		for {
			b.update()
			select {
			case <-ticker.C:
			case <-b.stop:
				return
			}
		}
	})
	return b
}

// close removes the line.
func (b *bar) close() {
	close(b.stop)
	b.wg.Wait()
	b.a.mu.Lock()
	defer b.a.mu.Unlock()
	b.clear()
	b.a.bar = nil
}

// clear removes the line, so that another one can be printed. The caller holds the mutex.
func (b *bar) clear() {
	if b != nil && b.width != nil {
		_, _ = io.WriteString(b.a.stderr, "\r\x1b[K") // of no importance
	}
}

// draw prints the line, and leaves room for the ^C that a terminal shows. The caller holds the mutex.
func (b *bar) draw() {
	if b != nil && b.width != nil {
		_, _ = io.WriteString(b.a.stderr, "\r"+b.text(b.width()-3)+"\x1b[K")
	}
}

func (b *bar) update() {
	b.a.mu.Lock()
	defer b.a.mu.Unlock()
	b.sample()
	b.draw()
}

// ended counts images that have ended.
func (b *bar) ended(done, failed int) {
	b.a.mu.Lock()
	defer b.a.mu.Unlock()
	b.done += done
	b.failed += failed
}

// add changes the number of bytes that were sent. It is negative before an image is sent again.
func (b *bar) add(n int64) {
	b.a.mu.Lock()
	defer b.a.mu.Unlock()
	b.sent += n
}

// sample records the state once a second.
func (b *bar) sample() {
	now := b.now()
	if now.Sub(b.samples[len(b.samples)-1].at) < sampleTime {
		return
	}
	b.samples = append(b.samples, sample{now, b.done})
	for len(b.samples) > 2 && now.Sub(b.samples[1].at) >= rateWindow {
		b.samples = b.samples[1:]
	}
}

// text returns the line, at most width characters long. The caller holds the mutex.
func (b *bar) text(width int) string {
	part := 0.0
	if b.total > 0 {
		part = float64(b.done) / float64(b.total)
	}
	text := fmt.Sprintf("%d/%d images", b.done, b.total)
	if b.failed > 0 {
		text += fmt.Sprintf(", %d failed", b.failed)
	}
	if b.sent < b.size {
		text += fmt.Sprintf(", sent %s of %s", bytesText(max(0, b.sent)), bytesText(b.size))
	}
	oldest := b.samples[0]
	if took := b.now().Sub(oldest.at).Seconds(); took >= 1 && b.done > oldest.done && b.done < b.total {
		rate := float64(b.done-oldest.done) / took
		left := time.Duration(float64(b.total-b.done) / rate * float64(time.Second))
		text += fmt.Sprintf(", %.1f/s, %s left", rate, durationText(max(time.Second, left)))
	}
	text = fmt.Sprintf("%3d%% ", int(part*100)) + text
	if room := min(30, width-len(text)-3); room >= 10 {
		full := int(part * float64(room))
		text = "[" + strings.Repeat("#", full) + strings.Repeat(".", room-full) + "] " + text
	}
	return text[:min(len(text), max(0, width))]
}

// bytesText formats a number of bytes, like 12.3 MB.
func bytesText(n int64) string {
	value, units := float64(n), []string{"B", "kB", "MB", "GB", "TB"}
	for value >= 999.95 && len(units) > 1 {
		value, units = value/1000, units[1:]
	}
	if units[0] == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, units[0])
}

// durationText formats a time that is left, like 12 s, 3 min or 2 h 5 min.
func durationText(d time.Duration) string {
	switch {
	case d < 100*time.Second:
		return fmt.Sprintf("%d s", int(d.Round(time.Second).Seconds()))
	case d < 100*time.Minute:
		return fmt.Sprintf("%d min", int(d.Round(time.Minute).Minutes()))
	case d < 1000*time.Hour:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return "a long time"
}

// set sets the counts, from an event of a job.
func (b *bar) set(total, done, failed int) {
	b.a.mu.Lock()
	defer b.a.mu.Unlock()
	b.total, b.done, b.failed = total, done, failed
}
