package apikey

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newKey returns a key and its line, or ends the test.
func newKey(t *testing.T, name string) (key, line string) {
	t.Helper()
	key, line, err := New(name)
	if err != nil {
		t.Fatal(err)
	}
	return key, line
}

func write(t *testing.T, path string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

func removed(k *Key) bool {
	select {
	case <-k.Removed():
		return true
	default:
		return false
	}
}

func TestFile(t *testing.T) {
	anna, annaLine := newKey(t, "anna")
	anna2, annaLine2 := newKey(t, "anna")
	bert, bertLine := newKey(t, "bert@example.com")
	if !strings.HasPrefix(anna, Prefix) || len(anna) != len(Prefix)+43 || anna == anna2 || strings.Contains(annaLine, anna) {
		t.Fatalf("got keys %q and %q, line %q", anna, anna2, annaLine)
	}
	path := filepath.Join(t.TempDir(), "keys")
	write(t, path, "\ufeff# who may come in", "", annaLine+" requests_per_minute=9 # hers", annaLine2+" requests_per_minute=9",
		"\t"+bertLine+" operator upload_bytes_per_minute=5000000000 open_images=0 sockets=3\r")
	defaults := Limits{RequestsPerMinute: 60, OpenImages: 7}
	r, err := Open(path, defaults, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]Key{
		anna: {Name: "anna", Limits: Limits{RequestsPerMinute: 9, OpenImages: 7}}, anna2: {Name: "anna", Limits: Limits{RequestsPerMinute: 9, OpenImages: 7}},
		bert: {Name: "bert@example.com", Operator: true, Limits: Limits{RequestsPerMinute: 60, UploadBytesPerMinute: 5_000_000_000, Sockets: 3}},
	} {
		got := r.Find(key)
		if got == nil || got.Name != want.Name || got.Operator != want.Operator || got.Limits != want.Limits {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if got != nil && r.FindHash(got.Hash()) != got {
			t.Errorf("the key of %s is not found by its hash %s", want.Name, got.Hash())
		}
	}
	if hash := (&Key{Operator: true}).Hash(); hash != "" || r.FindHash(hash) != nil {
		t.Errorf("a key that is not from a file has the hash %q", hash)
	}
	for _, hash := range []string{"", anna, strings.ToUpper(r.Find(bert).Hash()), strings.Repeat("0", 64)} {
		if k := r.FindHash(hash); k != nil {
			t.Errorf("hash %q: got %+v, want nil", hash, k)
		}
	}
	for _, key := range []string{"", anna + "x", anna[:len(anna)-1], annaLine[5:], "anna", strings.Repeat("x", 1<<20)} {
		if k := r.Find(key); k != nil {
			t.Errorf("%.80q: got %+v, want nil", key, k)
		}
	}
}

func TestBrokenFile(t *testing.T) {
	_, line := newKey(t, "anna")
	_, second := newKey(t, "anna")
	hash := strings.Fields(line)[1]
	for text, want := range map[string]string{
		"":                                   "no keys;",
		"# " + line:                          "no keys;",
		"anna":                               "line 1: want a name and the SHA-256",
		"anna " + hash[:63]:                  "line 1: anna: want the SHA-256",
		"anna " + hash + "0":                 "line 1: anna: want the SHA-256",
		"anna " + hash[:63] + "x":            "line 1: anna: want the SHA-256",
		"an/na " + hash:                      "line 1: a name is",
		strings.Repeat("a", 65) + line:       "line 1: a name is",
		line + " admin":                      "line 1: anna: want operator, ",
		line + " sockets":                    "line 1: anna: sockets: want a whole number",
		line + " open_images=-1":             "line 1: anna: open_images: want a whole number",
		line + "\nbert " + hash:              "line 2: duplicate of the key on line 1",
		line + "\n" + second + " operator":   "line 2: anna has different options on line 1",
		line + strings.Repeat("\n", maxFile): "more than",
		"\xff\xfea\x00n\x00n\x00a\x00":       "the file is UTF-16, want UTF-8",
		"\xfe\xff\x00a\x00n\x00n\x00a":       "the file is UTF-16, want UTF-8",
		line + "\n\ufeff" + second:           "line 2: a name is",
	} {
		path := filepath.Join(t.TempDir(), "keys")
		write(t, path, text)
		_, err := Open(path, Limits{}, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), hash[:60]) {
			t.Errorf("%.200q: got %v, want %q", text, err, want)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none"), Limits{}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("opening a missing file succeeded")
	}
	for _, name := range []string{"", "two words", "näh", strings.Repeat("a", 65)} {
		if _, _, err := New(name); err == nil {
			t.Errorf("created a key for %q", name)
		}
	}
}

// TestByteOrderMark verifies that a mark at the start of the file is not part of the first name.
func TestByteOrderMark(t *testing.T) {
	anna, line := newKey(t, "anna")
	path := filepath.Join(t.TempDir(), "keys")
	write(t, path, "\ufeff"+line+"\r")
	r, err := Open(path, Limits{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if k := r.Find(anna); k == nil || k.Name != "anna" {
		t.Errorf("got %+v, want anna", k)
	}
}

// TestReload changes the file of a running store.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "keys")
		anna, annaLine := newKey(t, "anna")
		bert, bertLine := newKey(t, "bert")
		carl, carlLine := newKey(t, "carl")
		write(t, path, annaLine, bertLine)
		var log bytes.Buffer
		r, err := Open(path, Limits{}, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		a, b := r.Find(anna), r.Find(bert)
		pass := func(d time.Duration) { time.Sleep(d); synctest.Wait() } // on the fake clock

		// A file that is truncated for a moment is ignored.
		pass(Interval / 2)
		write(t, path, annaLine)
		pass(Interval)
		write(t, path, annaLine+" sockets=5", bertLine, carlLine)
		pass(2 * Interval)
		if removed(a) || removed(b) || r.Find(carl) == nil || r.Find(anna).Limits.Sockets != 5 || r.Find(bert) == nil {
			t.Errorf("after more lines: %v, %v, %+v", removed(a), removed(b), r.Find(carl))
		}
		for _, broken := range []string{"", "anna", annaLine + " admin"} {
			write(t, path, broken)
			pass(3 * Interval)
			if removed(a) || r.Find(anna) == nil || r.Find(bert) == nil {
				t.Errorf("a broken file %q removed the keys", broken)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		pass(3 * Interval)
		if r.Find(bert) == nil {
			t.Error("a missing file removed the keys")
		}
		if n := strings.Count(log.String(), "level=ERROR"); n != 4 {
			t.Errorf("got %d errors in the log, want one for each fault:\n%s", n, log.String())
		}
		var called atomic.Int32
		b.AfterRemoved(func() { called.Add(1) })
		kept, unwanted := a.AfterRemoved(func() { called.Add(10) }), b.AfterRemoved(func() { called.Add(100) })
		if !unwanted() {
			t.Error("stop reports that the key was removed")
		}
		// One key is removed, and one changes its name.
		write(t, path, annaLine, strings.Replace(carlLine, "carl", "carla", 1))
		c := r.Find(carl)
		pass(3 * Interval)
		if removed(a) || !removed(b) || !removed(c) || r.Find(bert) != nil || r.Find(carl).Name != "carla" || removed(r.Find(carl)) {
			t.Errorf("after a removal: %t, %t, %t, %+v", removed(a), removed(b), removed(c), r.Find(bert))
		}
		synctest.Wait()
		if n := called.Load(); n != 1 || !kept() {
			t.Errorf("got %d, want one call for the removed key and none for the kept one", n)
		}
		for _, secret := range []string{anna, bert, carl, strings.Fields(annaLine)[1]} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("a secret is in the log:\n%s", log.String())
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// FuzzParse verifies that all keys parsed from a file are valid and can be found.
func FuzzParse(f *testing.F) {
	_, line, _ := New("anna")
	f.Add(line + " operator sockets=1\n# x\n")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := parse([]byte(text), Limits{})
		if err == nil && len(keys) == 0 {
			t.Error("got no keys and no error")
		}
		for _, k := range keys {
			if CheckName(k.Name) != nil || k.Limits.OpenImages < 0 || k.Limits.Sockets < 0 || k.Limits.UploadBytesPerMinute < 0 || k.Limits.RequestsPerMinute < 0 {
				t.Errorf("invalid key %+v", k)
			}
		}
	})
}
