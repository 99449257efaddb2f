package main

import (
	"bytes"
	"io"
	"testing"
	"time"
)

// TestBar verifies the line: counts, bytes, rate, the time that is left, and the width.
func TestBar(t *testing.T) {
	now := time.Date(2026, 11, 28, 18, 0, 0, 0, time.UTC)
	a := &app{stderr: io.Discard}
	b := a.startBar(200, 30_000_000)
	b.now = func() time.Time { return now }
	b.samples = []sample{{now, 0}}
	line := func(want string, width int) {
		t.Helper()
		now = now.Add(time.Second)
		b.sample()
		if got := b.text(width); got != want {
			t.Errorf("line\n%q, want\n%q", got, want)
		}
	}
	line("[..............................]   0% 0/200 images, sent 0 B of 30.0 MB", 100)
	b.add(12_340_000)
	line("[..............................]   0% 0/200 images, sent 12.3 MB of 30.0 MB", 100)
	b.ended(50, 2)
	b.add(17_660_000)
	line("[#######.......................]  25% 50/200 images, 2 failed, 16.7/s, 9 s left", 100)
	line("[#####...............]  25% 50/200 images, 2 failed, 12.5/s, 12 s left", 70)
	line(" 25% 50/200 images, 2 failed, 10.0/s, 15 s left", 50)
	line(" 25% 50/200 ", 12)
	line("", 0)
	now = now.Add(time.Minute) // the rate is that of the last seconds
	line(" 25% 50/200 images, 2 failed", 30)
	b.ended(150, 0)
	line("[##############################] 100% 200/200 images, 2 failed", 100)
}

// TestBarLines verifies that a line that is printed does not mix with the bar, and that control
// characters do not reach the terminal.
func TestBarLines(t *testing.T) {
	var terminal bytes.Buffer
	a := &app{stdout: &terminal, stderr: &terminal}
	b := a.startBar(2, 0)
	b.width = func() int { return 30 }
	a.note("a: %s", "red\x1b[31m")
	if err := a.line("b\u009b1mc"); err != nil {
		t.Fatal(err)
	}
	b.close()
	const removed, bar = "\r\x1b[K", "\r  0% 0/2 images\x1b[K"
	want := removed + "a: red\uFFFD[31m\n" + bar + removed + "b\uFFFD1mc\n" + bar + removed
	if terminal.String() != want {
		t.Errorf("terminal\n%q, want\n%q", terminal.String(), want)
	}
}

// TestUnits verifies how bytes and times are written.
func TestUnits(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_960: "1.0 MB", 12_345_678: "12.3 MB", 5_000_000_000_000_000: "5000.0 TB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0 s", 99 * time.Second: "99 s", 100 * time.Second: "2 min", 99 * time.Minute: "99 min", 125 * time.Minute: "2 h 5 min", 2000 * time.Hour: "a long time",
	} {
		if got := durationText(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}
