package download

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// encode returns the bytes in the content coding.
func encode(t *testing.T, coding string, data io.Reader) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch coding {
	case "gzip":
		w, err = gzip.NewWriterLevel(&b, flate.BestSpeed)
	case "deflate":
		w, err = zlib.NewWriterLevel(&b, flate.BestSpeed)
	case "raw deflate":
		w, err = flate.NewWriter(&b, flate.BestSpeed)
	case "zstd":
		w, err = zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20))
	case "br":
		w = brotli.NewWriterOptions(&b, brotli.WriterOptions{Quality: 0, LGWin: 24})
	default:
		t.Fatalf("unknown coding %s", coding)
	}
	if err == nil {
		_, err = io.Copy(w, data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// compressed starts an origin whose bodies have the codings of the Content-Encoding.
func compressed(t *testing.T, encoding string, body []byte) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Encoding"] = strings.Split(encoding, ";")
		w.Write(body)
	}).URL
}

var codingsOfTests = []string{"gzip", "deflate", "raw deflate", "zstd", "br"}

// named returns the name of a coding in a header.
func named(coding string) string { return strings.TrimPrefix(coding, "raw ") }

// pattern returns bytes that can be compressed, but not to almost nothing.
func pattern(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i*i>>7 ^ i)
	}
	return data
}

// TestOriginsThatCompress verifies that a body is decoded although no coding was asked for, up
// to the same limit as without a coding.
func TestOriginsThatCompress(t *testing.T) {
	const limit = 4 << 20
	data := pattern(limit + 1)
	c := client(t, Config{MaxBytes: limit})
	for _, coding := range codingsOfTests {
		for _, size := range []int{1, firstRead, limit, limit + 1} {
			got, err := get(t, c, compressed(t, named(coding), encode(t, coding, bytes.NewReader(data[:size]))))
			if size > limit {
				wantFailure(t, err, pipeline.CodeTooLarge, "Image exceeds the maximum size of 4 MB")
			} else if err != nil || !bytes.Equal(got, data[:size]) {
				t.Errorf("%s, %d bytes: got %d, %v, want the same bytes", coding, size, len(got), err)
			}
		}
	}
	for _, name := range []string{"x-gzip", "GZip", "X-GZIP"} {
		if got, err := get(t, c, compressed(t, name, encode(t, "gzip", strings.NewReader("image")))); err != nil || string(got) != "image" {
			t.Errorf("%s: got %q, %v, want image", name, got, err)
		}
	}
	twice := encode(t, "zstd", bytes.NewReader(encode(t, "gzip", strings.NewReader("image"))))
	for _, header := range []string{"gzip, zstd", "gzip;zstd", "identity, GZIP ,, zstd"} {
		if got, err := get(t, c, compressed(t, header, twice)); err != nil || string(got) != "image" {
			t.Errorf("%s: got %q, %v, want image", header, got, err)
		}
	}
	// An encoding may be longer than the image.
	random := make([]byte, limit)
	for i, x := 0, uint32(1); i < limit; i++ {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		random[i] = byte(x)
	}
	packed := encode(t, "gzip", bytes.NewReader(random))
	if got, err := get(t, c, compressed(t, "gzip", packed)); err != nil || !bytes.Equal(got, random) || len(packed) <= limit {
		t.Errorf("%d bytes that do not compress: got %d, %v", len(packed), len(got), err)
	}
}

// TestEncodingThatIsNone verifies that a body that is an image already is taken as it is,
// whatever its Content-Encoding says, and so is one without any bytes.
func TestEncodingThatIsNone(t *testing.T) {
	c := client(t, Config{})
	for _, body := range []string{"\xff\xd8\xff\xe0 a JPEG", "\x89PNG\r\n\x1a\n a PNG", ""} {
		for _, header := range []string{"", "identity", "gzip", "deflate", "br", "zstd", "utf-8", "aws-chunked", "gzip, gzip", "a, b, c"} {
			if got, err := get(t, c, compressed(t, header, []byte(body))); err != nil || string(got) != body {
				t.Errorf("Content-Encoding %q: got %q, %v, want %q", header, got, err, body)
			}
		}
	}
	// The header of a proxy that names its coding a second time.
	once := encode(t, "gzip", strings.NewReader("\xff\xd8\xff\xe0 a JPEG"))
	if got, err := get(t, c, compressed(t, "gzip, gzip", once)); err != nil || string(got) != "\xff\xd8\xff\xe0 a JPEG" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestEncodingsThatFail(t *testing.T) {
	const unsupported = "Failed to download image: its content encoding is not supported"
	const invalid = "Failed to download image: its content encoding is invalid"
	gz := encode(t, "gzip", strings.NewReader("some text"))
	damaged := bytes.Clone(gz)
	damaged[len(damaged)-5] ^= 1 // the checksum
	for name, tc := range map[string]struct {
		header string
		body   []byte
		text   string
	}{
		"unknown":                {"compress", []byte("x"), unsupported},
		"one of two":             {"gzip, sdch", gz, unsupported},
		"too many":               {"gzip, gzip, gzip", gz, unsupported},
		"not that coding":        {"gzip", []byte("plain text"), invalid},
		"not that coding either": {"zstd", []byte("plain text"), invalid},
		"damaged":                {"gzip", damaged, invalid},
		"cut off":                {"gzip", gz[:len(gz)-9], "Failed to download image: the answer broke off"},
		"window of 16 MiB":       {"zstd", window16(t), invalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := get(t, client(t, Config{}), compressed(t, tc.header, tc.body))
			wantFailure(t, err, pipeline.CodeDownloadFailed, tc.text)
		})
	}
	origin := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "compress")
		w.WriteHeader(http.StatusNotFound)
	})
	_, err := get(t, client(t, Config{}), origin.URL)
	wantFailure(t, err, pipeline.CodeDownloadFailed, "Failed to download image: status code 404")
}

func window16(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(16<<20), zstd.WithSingleSegment(false))
	if err == nil {
		_, err = w.Write(make([]byte, 17<<20))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zeros is a reader of n zero bytes.
type zeros struct{ left int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), z.left))
	clear(p[:n])
	z.left -= int64(n)
	return n, nil
}

// TestBombsOfOrigins verifies that a body that decodes to 8 MiB fails at the limit, with little
// memory, and that an encoding without an end fails as well, even if it decodes to no bytes.
func TestBombsOfOrigins(t *testing.T) {
	const limit = 4 << 20
	bombs := map[string]string{}
	for _, coding := range codingsOfTests {
		bombs[coding] = compressed(t, named(coding), encode(t, coding, &zeros{8 << 20}))
	}
	bombs["twice"] = compressed(t, "gzip, gzip", encode(t, "gzip", bytes.NewReader(encode(t, "gzip", &zeros{8 << 20}))))
	endless := func(header string, start, block []byte) string {
		return serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", header)
			w.Write(start)
			for {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}).URL
	}
	bombs["endless gzip members"] = endless("gzip", nil, encode(t, "gzip", strings.NewReader("")))
	bombs["endless empty blocks"] = endless("deflate", []byte{0x78, 0x9c}, bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 1000))
	bombs["endless skippable frames"] = endless("zstd", nil, append([]byte{0x50, 0x2a, 0x4d, 0x18, 0, 0x10, 0, 0}, make([]byte, 0x1000)...))
	for name, url := range bombs {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := get(t, client(t, Config{MaxBytes: limit}), url)
			runtime.ReadMemStats(&after)
			wantFailure(t, err, pipeline.CodeTooLarge, "Image exceeds the maximum size of 4 MB")
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 48<<20 {
				t.Errorf("allocated %d MiB, want at most 48", grown>>20)
			}
		})
	}
}

// TestDecodersCountAsMemory verifies that the window of a decoder counts as memory of its job, and
// that a gateway with too little memory for it says so instead of waiting for ever.
func TestDecodersCountAsMemory(t *testing.T) {
	noise := make([]byte, 3*firstRead) // which no coding makes smaller
	if _, err := rand.NewChaCha8([32]byte{}).Read(noise); err != nil {
		t.Fatal(err)
	}
	body := encode(t, "zstd", bytes.NewReader(noise))
	var wait sync.WaitGroup
	hold := make(chan struct{})
	slow := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "zstd")
		w.Write(body[:len(body)-1])
		w.(http.Flusher).Flush()
		<-hold
		w.Write(body[len(body)-1:])
	})
	c := client(t, Config{memoryWait: 20 * time.Millisecond})
	wait.Go(func() {
		if img, err := c.Get(t.Context(), "job", slow.URL, place(slow.URL), nil); err != nil {
			t.Error(err)
		} else {
			img.Release()
		}
	})
	waitUntilHeld(c, "job", maxWindow+zstdBytes+4*firstRead)
	close(hold)
	wait.Wait()
	checkMemory(t, c)

	const limit = 1 << 20
	little := client(t, Config{MaxBytes: limit, Memory: 4 * (limit + 1)})
	for _, coding := range []string{"zstd", "br"} {
		_, err := get(t, little, compressed(t, coding, encode(t, coding, bytes.NewReader(pattern(1000)))))
		wantFailure(t, err, pipeline.CodeDownloadFailed, "Failed to download image: its content encoding is not supported")
	}
	if got, err := get(t, little, compressed(t, "gzip", encode(t, "gzip", strings.NewReader("x")))); err != nil || string(got) != "x" {
		t.Errorf("gzip: %q, %v", got, err)
	}
}
