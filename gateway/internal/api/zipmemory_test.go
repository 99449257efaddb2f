package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// largeObjects makes the store return objects of size bytes, all different.
func (r *rig) largeObjects(size int64) (reads *atomic.Int64) {
	reads = &atomic.Int64{}
	get := storeGet(func(_ context.Context, key string) (*objectstore.Object, error) {
		reads.Add(1)
		return &objectstore.Object{Info: objectstore.Info{Key: key, Size: size}, Body: io.NopCloser(io.LimitReader(&pattern{key: key}, size))}, nil
	})
	r.processed.get.Store(&get)
	return reads
}

// pattern repeats a text.
type pattern struct {
	key string
	at  int
}

func (p *pattern) Read(b []byte) (int, error) {
	for n := 0; n < len(b); {
		m := copy(b[n:], p.key[p.at:])
		n, p.at = n+m, (p.at+m)%len(p.key)
	}
	return len(b), nil
}

// imageNames returns n names.
func imageNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("image %d.jpg", i))
	}
	return names
}

// TestArchiveMemory downloads images of 10 MB: the heap has room for about two of them.
// Objects that no buffer is large enough for are read twice instead.
func TestArchiveMemory(t *testing.T) {
	for name, c := range map[string]struct {
		size, original int64
		config         api.Config
		reads          int
	}{
		"buffered":            {10_000_000, 10_000_000, api.Config{}, 1},
		"larger than thought": {10_000_000, 1000, api.Config{}, 1},
		"too large":           {20_000_000, 20_000_000, api.Config{}, 2},
		"little memory":       {10_000_000, 1000, api.Config{MaxImageBytes: 1000, ArchiveMemory: 1}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			images := 10
			if os.Getenv("TEST_FULL_SIZE") != "" && name == "buffered" {
				images = 100
			}
			r := setup(t, options{config: c.config})
			reads := r.largeObjects(c.size)
			id := r.storeImages(c.original, imageNames(images)...)
			var peak uint64
			runtime.GC()
			var before, now runtime.MemStats
			runtime.ReadMemStats(&before)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+zipPath(id)+"?include=file", nil)
			r.must(err)
			resp, err := r.client.Do(req)
			r.must(err)
			defer resp.Body.Close()
			n, err := io.Copy(io.Discard, &probe{r: resp.Body, do: func() {
				runtime.ReadMemStats(&now)
				peak = max(peak, now.HeapAlloc)
			}})
			if err != nil || n < int64(images)*c.size {
				t.Fatalf("got %d bytes, %v", n, err)
			}
			if grown := int64(peak) - int64(before.HeapAlloc); grown > 32<<20 {
				t.Errorf("the heap grew by %d MiB", grown>>20)
			} else {
				t.Logf("the heap grew by %d MiB", grown>>20)
			}
			if got := reads.Load(); got != int64(images*c.reads) {
				t.Errorf("%d objects were read %d times", images, got)
			}
		})
	}
}

// TestArchiveReadTwice verifies the content of objects that are read twice, and that
// an object that changes between the two reads breaks the archive.
func TestArchiveReadTwice(t *testing.T) {
	r := setup(t, options{config: api.Config{MaxImageBytes: 1000, ArchiveMemory: 1}})
	id := r.storeImages(1, "a.jpg", "b.jpg")
	content := func(key string) string { return strings.Repeat(path.Base(key), 40_000) }
	changed := ""
	get := storeGet(func(_ context.Context, key string) (*objectstore.Object, error) {
		text := changed + content(key)[len(changed):]
		return &objectstore.Object{Info: objectstore.Info{Key: key, Size: int64(len(text))}, Body: io.NopCloser(strings.NewReader(text))}, nil
	})
	r.processed.get.Store(&get)
	all, _ := entries(t, r.get(zipPath(id)+"?include=file").body)
	if all["a.jpg"] != content("a.jpg") || all["b.jpg"] != content("b.jpg") {
		t.Errorf("got files of %d and %d bytes", len(all["a.jpg"]), len(all["b.jpg"]))
	}
	n := 0
	changing := storeGet(func(ctx context.Context, key string) (*objectstore.Object, error) {
		if n++; n == 4 {
			changed = "changed"
		}
		return get(ctx, key)
	})
	r.processed.get.Store(&changing)
	wantInterrupted(t, r, zipPath(id)+"?include=file")
}

// stalled starts a download that takes nothing but the header.
func (r *rig) stalled(id string, header ...string) io.Closer {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, r.url+zipPath(id)+"?include=file", nil)
	r.must(err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := r.client.Do(req)
	r.must(err)
	if resp.StatusCode != 200 {
		r.Fatalf("got %d", resp.StatusCode)
	}
	return resp.Body
}

// TestArchivesAtOnce verifies that the buffers of all downloads together are limited, that
// a name with a key gets only half of them, and that a download returns its memory.
func TestArchivesAtOnce(t *testing.T) {
	const size = 10 << 20
	one := int64(size + 64<<10 + api.Window)
	keys := newKeyFile(t, "anna", "bert operator")
	r := setup(t, options{keys: keys.Store, config: api.Config{ArchiveMemory: 4 * one}})
	r.largeObjects(size)
	id := r.storeImages(size, imageNames(3)...)
	operator := []string{"Authorization", keys.keys["bert"]}
	first, second := r.stalled(id, operator...), r.stalled(id, operator...)
	defer second.Close()
	got := r.as(keys, "bert", "GET", zipPath(id), "")
	if got.status != 429 || got.header.Get("Retry-After") != "5" || !strings.Contains(string(got.body), "Too many downloads of results.zip at once with this API key, try again later") {
		t.Errorf("the third download of a name: got %d %v %s", got.status, got.header, got.body)
	}
	if got.header.Get("Content-Disposition") != "" || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("the rejected download has the header %v", got.header)
	}
	r.must(first.Close())
	r.awaitArchiveMemory("bert", one)
	r.must(r.stalled(id, operator...).Close())

	open := setup(t, options{config: api.Config{ArchiveMemory: 2 * one}})
	open.largeObjects(size)
	id = open.storeImages(size, imageNames(3)...)
	for range 2 {
		defer open.stalled(id).Close()
	}
	got = open.get(zipPath(id))
	wantError(t, got, 503, "Too many downloads of results.zip at once, try again later")
	if got.header.Get("Retry-After") != "5" {
		t.Errorf("got Retry-After %q", got.header.Get("Retry-After"))
	}
}

func (r *rig) awaitArchiveMemory(name string, want int64) {
	r.Helper()
	tick, limit := time.NewTicker(time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for r.api.ArchiveMemory(name) != want {
		select {
		case <-tick.C:
		case <-limit:
			r.Fatalf("%d bytes are still in use, want %d", r.api.ArchiveMemory(name), want)
		}
	}
}

// TestSlowArchives verifies that a download whose client takes less than the minimum
// speed is ended and returns its memory, and that one a little faster gets everything.
func TestSlowArchives(t *testing.T) {
	for name, c := range map[string]struct {
		bytes int // that the client takes each second
		whole bool
	}{"too slow": {8_000, false}, "slow": {12_000, true}} {
		synctest.Test(t, func(t *testing.T) {
			d := setupDrain(t, 0)
			d.largeObjects(1 << 20)
			id := d.storeImages(1<<20, imageNames(2)...)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.url+zipPath(id)+"?include=file", nil)
			d.must(err)
			client := *d.client
			client.Timeout = 0
			resp, err := client.Do(req)
			d.must(err)
			defer resp.Body.Close()
			started, taken := time.Now(), 0
			for err == nil {
				time.Sleep(time.Second)
				var n int
				n, err = io.ReadFull(resp.Body, make([]byte, c.bytes))
				taken += n
			}
			took := time.Since(started)
			if whole := taken > 2<<20; whole != c.whole || !c.whole && took > 5*time.Minute {
				t.Errorf("%s: got %d bytes in %v, %v", name, taken, took, err)
			}
			synctest.Wait()
			if n := d.api.ArchiveMemory(""); n != 0 {
				t.Errorf("%s: %d bytes are in use after the download", name, n)
			}
			d.stop()
			<-d.ended
		})
	}
}

// TestDrainOfArchives verifies that a running download is finished during the shutdown if
// its client reads on, and is visibly broken otherwise.
func TestDrainOfArchives(t *testing.T) {
	for name, reads := range map[string]bool{"a client that reads": true, "a client that does not": false} {
		synctest.Test(t, func(t *testing.T) {
			d := setupDrain(t, 0)
			d.largeObjects(1 << 20)
			id := d.storeImages(1<<20, imageNames(2)...)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.url+zipPath(id)+"?include=file", nil)
			d.must(err)
			resp, err := d.client.Do(req)
			d.must(err)
			defer resp.Body.Close()
			d.stop()
			synctest.Wait()
			if !reads {
				<-d.ended
			}
			data, err := io.ReadAll(resp.Body)
			if reads {
				d.must(err)
				if _, names := entries(t, data); len(names) != 3 {
					t.Errorf("%s: got %q", name, names)
				}
				<-d.ended
			} else if err == nil {
				t.Errorf("%s: got a complete response", name)
			}
			if took := time.Since(d.stopped); took > 21*time.Second {
				t.Errorf("%s: stopped after %v", name, took)
			}
		})
	}
}
