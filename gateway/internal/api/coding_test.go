package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// gzipped returns a body in gzip.
func gzipped(text string, level ...int) string {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, append(level, gzip.DefaultCompression)[0])
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err)
	}
	return b.String()
}

// zstandard returns a body in zstd, in uncompressed blocks with a window of 1 MiB. The tests of
// package coding have compressed ones.
func zstandard(text string) string {
	b := []byte("\x28\xb5\x2f\xfd\x00\x50")
	for more := true; more; {
		n := min(len(text), 128<<10)
		more = n < len(text)
		header := uint32(n) << 3
		if !more {
			header |= 1
		}
		b = append(append(b, byte(header), byte(header>>8), byte(header>>16)), text[:n]...)
		text = text[n:]
	}
	return string(b)
}

// sizedPNG returns a PNG of n bytes, most of them copies of fill.
func sizedPNG(t testing.TB, n int, fill string) []byte {
	t.Helper()
	const header = 8 + 25 // the signature and IHDR
	tiny := tinyPNG(t)
	size := n - len(tiny) - 12
	chunk := append([]byte("paDd"), strings.Repeat(fill, size/len(fill)+1)[:size]...) // private, ancillary and safe to copy
	data := append([]byte{}, tiny[:header]...)
	data = binary.BigEndian.AppendUint32(data, uint32(size))
	data = append(data, chunk...)
	data = binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(chunk))
	return append(data, tiny[header:]...)
}

// stored returns a job that a request created, with its originals.
func (r *rig) stored(got response) *job.Job {
	r.Helper()
	j, err := r.jobs.Get(r.Context(), r.decodeJob(got, http.StatusCreated).JobID)
	r.must(err)
	return j
}

func TestEncodedBodies(t *testing.T) {
	r := setup(t, options{})
	png := sizedPNG(t, 300_000, "some pixels ")
	text := fmt.Sprintf(`{"images":[{"base64":%q,"name":"a.png"},{"base64":%q,"name":"b.png"}]}`, b64(png), b64(tinyPNG(t)))
	for name, c := range map[string]struct{ header, body string }{
		"none":          {"", text},
		"identity":      {"identity", text},
		"gzip":          {"gzip", gzipped(text)},
		"GZIP":          {"GZIP", gzipped(text)},
		"x-gzip":        {"x-gzip", gzipped(text)},
		"gzip, stored":  {"gzip", gzipped(text, gzip.NoCompression)},
		"gzip, members": {"gzip", gzipped(text[:1000]) + gzipped(text[1000:])},
		"gzip of a BOM": {"gzip", gzipped("\ufeff" + text)},
		"zstd":          {"zstd", zstandard(text)},
		"zstd, frames":  {"zstd", zstandard(text[:1000]) + zstandard(text[1000:])},
	} {
		t.Run(name, func(t *testing.T) {
			for how, body := range map[string]io.Reader{"with its length": strings.NewReader(c.body), "in chunks": io.MultiReader(strings.NewReader(c.body))} {
				j := r.stored(r.do("POST", "/api/v1/batch", body, "Content-Encoding", c.header))
				if got := j.Images; len(got) != 2 || got[0].Original.Size != int64(len(png)) || got[1].Status != job.Processing || got[1].OriginalFilename != "b.png" {
					t.Errorf("%s: got %+v", how, got)
				}
			}
		})
	}
	r.awaitMemory("", 0)
}

func TestBodiesThatAreNotDecoded(t *testing.T) {
	r := setup(t, options{})
	text := inlineBatch(t)
	for name, c := range map[string]struct {
		header, body string
		status       int
		text         string
	}{
		"brotli":           {"br", text, 415, "Content-Encoding not supported; want gzip, zstd or none"},
		"twice":            {"gzip, gzip", gzipped(gzipped(text)), 415, "Content-Encoding not supported; want gzip, zstd or none"},
		"deflate":          {"deflate", text, 415, "Content-Encoding not supported; want gzip, zstd or none"},
		"plain as gzip":    {"gzip", text, 400, "Invalid gzip body: the body does not begin with its header"},
		"gzip as plain":    {"", gzipped(text), 400, "Invalid JSON at byte 0: unexpected byte 0x1f"},
		"cut short":        {"gzip", gzipped(text)[:60], 400, "Invalid gzip body: unexpected end of the body"},
		"no checksum":      {"gzip", gzipped(text)[:len(gzipped(text))-8], 400, "Invalid gzip body: unexpected end of the body"},
		"trailing data":    {"zstd", zstandard(text) + text, 400, "Invalid zstd body: unexpected data after the end"},
		"empty":            {"zstd", "", 400, "Request body is empty"},
		"gzip of nothing":  {"gzip", gzipped(""), 400, "Request body is empty"},
		"invalid inside":   {"gzip", gzipped(`{"images":[{}]}`), 400, "Invalid image source (missing both URL and base64): images[0]"},
		"cut short inside": {"zstd", zstandard(text[:60]), 400, "Invalid JSON: unexpected end of the body"},
	} {
		t.Run(name, func(t *testing.T) {
			got := r.do("POST", "/api/v1/batch", strings.NewReader(c.body), "Content-Encoding", c.header)
			wantError(t, got, c.status, c.text)
			if accepted := got.header.Get("Accept-Encoding"); (accepted == "gzip, zstd") != (c.status == 415) {
				t.Errorf("got Accept-Encoding %q", accepted)
			}
		})
	}
	t.Run("before the body is sent", func(t *testing.T) {
		for coding, want := range map[string]string{"br": "HTTP/1.1 415", "gzip": "HTTP/1.1 100"} {
			conn := r.dial()
			_, err := fmt.Fprintf(conn, "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nContent-Encoding: %s\r\nExpect: 100-continue\r\n\r\n", coding)
			r.must(err)
			status := make([]byte, len(want))
			if _, err := io.ReadFull(conn, status); err != nil || string(status) != want {
				t.Errorf("%s: got %q, %v", coding, status, err)
			}
			r.must(conn.Close())
		}
	})
	if n := len(r.list()); n != 0 {
		t.Errorf("got %d jobs", n)
	}
}

// TestKeyOfAnEncodedRequest verifies that a request that is sent again with another coding is
// the same request.
func TestKeyOfAnEncodedRequest(t *testing.T) {
	r := setup(t, options{})
	text := inlineBatch(t)
	send := func(coding, body string) response {
		return r.do("POST", "/api/v1/batch", strings.NewReader(body), "Idempotency-Key", "k", "Content-Encoding", coding)
	}
	first := r.decodeJob(send("gzip", gzipped(text)), 201)
	for i, again := range []response{send("gzip", gzipped(text, gzip.NoCompression)), send("zstd", zstandard(text)), send("", text)} {
		if got := r.decodeJob(again, 201); got.JobID != first.JobID {
			t.Errorf("%d: got another job", i)
		}
	}
	wantError(t, send("gzip", gzipped(text+" ")), 422, "Idempotency-Key was used with a different request")
	wantError(t, send("gzip", gzipped(text)[:60]), 400, "Invalid gzip body: unexpected end of the body")
	r.awaitMemory("", 0)
}

// TestQuotaOfEncodedBodies verifies that a batch costs its decoded bytes, also a rejected one.
func TestQuotaOfEncodedBodies(t *testing.T) {
	keys := newKeyFile(t, "whole upload_bytes_per_minute=100000", "rejected upload_bytes_per_minute=100000", "plain upload_bytes_per_minute=100000")
	r := setup(t, options{keys: keys.Store, config: api.Config{MaxBatchImages: 1, MaxImageBytes: 1 << 20}})
	spaces := strings.Repeat(" ", 5_000_000)
	for name, c := range map[string]struct {
		coding, text string
		status       int
	}{
		"whole": {"gzip", small + spaces, 201}, "rejected": {"gzip", "[" + spaces, 400}, "plain": {"", small + spaces, 201},
	} {
		body := c.text
		if c.coding == "gzip" {
			body = gzipped(body)
		}
		if got := r.as(keys, name, "POST", "/api/v1/batch", body, "Content-Encoding", c.coding); got.status != c.status {
			t.Errorf("%s: got %d %s", name, got.status, got.body)
		}
		again := r.as(keys, name, "POST", "/api/v1/batch", small)
		if name == "rejected" { // at the first window, before the rest was decoded
			if again.status != 201 {
				t.Errorf("%s: then got %d %s", name, again.status, again.body)
			}
			continue
		}
		// Fifty minutes, less the first.
		if after := again.header.Get("Retry-After"); again.status != 429 || len(after) != 4 || after[:2] != "29" {
			t.Errorf("%s: then got %d %s, Retry-After %s", name, again.status, again.body, after)
		}
	}
}

// TestBombs verifies that a small body that decodes to a gigabyte is rejected when it has
// passed the size of the largest batch, and needs no more memory than any other body and its
// decoder. With TEST_FULL_SIZE the largest batch has 100 images of 10 MiB, otherwise one of
// 1 MiB.
func TestBombs(t *testing.T) {
	images, size := 1, 1<<20
	if os.Getenv("TEST_FULL_SIZE") != "" {
		images, size = 100, 10<<20
	}
	r := setup(t, options{config: api.Config{MaxBatchImages: images, MaxImageBytes: int64(size)}})
	r.client.Timeout = 0
	digits := (size + 2) / 3 * 4
	most := images * (6*(digits+2*((digits+63)/64)) + 64<<10)
	const unit = 1 << 20
	for name, c := range map[string]struct {
		coding, start, text string
		status              int
		want                string
	}{
		"zeros":               {"gzip", "", "\x00", 400, "Invalid JSON at byte 0: unexpected byte 0x00"},
		"white space":         {"gzip", "", " ", 413, fmt.Sprintf("Request body exceeds %d bytes", most)},
		"an image":            {"gzip", `{"images":[{"base64":"`, "A", 413, fmt.Sprintf("Request body exceeds %d bytes", most)},
		"white space in zstd": {"zstd", "", " ", 413, fmt.Sprintf("Request body exceeds %d bytes", most)},
		"an image in zstd":    {"zstd", `{"images":[{"base64":"`, "A", 413, fmt.Sprintf("Request body exceeds %d bytes", most)},
	} {
		t.Run(name, func(t *testing.T) {
			runtime.GC()
			var stats runtime.MemStats
			runtime.ReadMemStats(&stats)
			before, peak, held := stats.HeapAlloc, uint64(0), int64(0)
			measure := func() {
				runtime.ReadMemStats(&stats)
				peak, held = max(peak, stats.HeapAlloc), max(held, r.api.UploadMemory(""))
			}
			start, more := gzipped(c.start), gzipped(strings.Repeat(c.text, unit))
			if c.coding == "zstd" {
				// A window of 8 MiB; blocks of one byte, which stands for 128 KiB.
				start, more = zstandard(c.start), "\x28\xb5\x2f\xfd\x00\x68"+strings.Repeat("\x02\x00\x10"+c.text, unit>>17-1)+"\x03\x00\x10"+c.text
			}
			parts := []io.Reader{strings.NewReader(start)}
			for i := range max(64, most/unit+1) {
				parts = append(parts, strings.NewReader(more), readerFunc(func([]byte) (int, error) {
					// The client sends the first parts at once. After them the server waits for more.
					for i == 5 && held == 0 && c.coding == "gzip" && c.status != 400 {
						held = r.api.UploadMemory("")
						runtime.Gosched()
					}
					measure()
					return 0, io.EOF
				}))
			}
			wantError(t, r.do("POST", "/api/v1/batch", io.MultiReader(parts...), "Content-Encoding", c.coding), c.status, c.want)
			r.awaitMemory("", 0)
			if c.status == 400 { // rejected before anything was measured
				return
			}
			limit := int64(api.Window + 128<<10)
			if c.coding == "zstd" {
				limit = api.Window + 10<<20
			}
			if strings.Contains(name, "image") {
				limit += int64(size)
			}
			if held == 0 && c.coding == "gzip" || held > limit { // zstd may be decoded before the next measurement
				t.Errorf("%d bytes of upload memory were held, want at most %d", held, limit)
			}
			if grown := int64(peak) - int64(before); grown > 48<<20 {
				t.Errorf("the heap grew by %d MiB", grown>>20)
			}
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
