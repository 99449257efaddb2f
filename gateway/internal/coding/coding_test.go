package coding_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"github.com/imagebatch/imagebatch/gateway/internal/coding"
)

// text is a body of some blocks that compresses, but not to nothing.
var text = func() string {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // The same body in each run.
	var b strings.Builder
	for b.Len() < 150_000 {
		fmt.Fprintf(&b, `{"url":"https://example.com/%x.jpg"},`, random.Uint32())
	}
	return b.String()
}()

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// gzipped returns one member.
func gzipped(text string, header ...gzip.Header) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	for _, h := range header {
		w.Header = h
	}
	must(io.WriteString(w, text))
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

// zstandard returns one frame whose content size is known, as of a file.
func zstandard(text string, options ...zstd.EOption) string {
	w := must(zstd.NewWriter(nil, options...))
	defer w.Close()
	return string(w.EncodeAll([]byte(text), nil))
}

// streamed returns one frame of unknown content size, as of a pipe.
func streamed(text string, options ...zstd.EOption) string {
	var b bytes.Buffer
	w := must(zstd.NewWriter(&b, options...))
	must(io.WriteString(w, text))
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

const skipped = "\x53\x2a\x4d\x18\x05\x00\x00\x00hello" // a skippable frame (RFC 8878, section 3.1.2)

// decode reads a body to its end.
func decode(c coding.Coding, r io.Reader, grow func(int64) error) (string, error) {
	in := c.NewReader(r, grow)
	data, err := io.ReadAll(in)
	return string(data), errors.Join(err, in.Close())
}

func TestBodies(t *testing.T) {
	half := len(text) / 2
	for name, c := range map[string]struct {
		coding  coding.Coding
		encoded string
		want    string
	}{
		"identity":                    {coding.Identity, text, text},
		"gzip":                        {coding.Gzip, gzipped(text), text},
		"gzip, no content":            {coding.Gzip, gzipped(""), ""},
		"gzip, no body":               {coding.Gzip, "", ""},
		"gzip, header fields":         {coding.Gzip, gzipped(text, gzip.Header{Name: "batch.json", Comment: "c", Extra: make([]byte, 65_535)}), text},
		"gzip, members":               {coding.Gzip, gzipped(text[:half]) + gzipped("") + gzipped(text[half:]), text},
		"zstd":                        {coding.Zstd, zstandard(text), text},
		"zstd, no content":            {coding.Zstd, zstandard("", zstd.WithZeroFrames(true)), ""},
		"zstd, no body":               {coding.Zstd, "", ""},
		"zstd, unknown size":          {coding.Zstd, streamed(text), text},
		"zstd, no checksum":           {coding.Zstd, streamed(text, zstd.WithEncoderCRC(false)), text},
		"zstd, one byte":              {coding.Zstd, zstandard("{"), "{"},
		"zstd, largest window":        {coding.Zstd, streamed(text, zstd.WithWindowSize(8<<20)), text},
		"zstd, smallest window":       {coding.Zstd, streamed(text, zstd.WithWindowSize(zstd.MinWindowSize)), text},
		"zstd, best":                  {coding.Zstd, streamed(text, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(8<<20)), text},
		"zstd, frames, larger window": {coding.Zstd, zstandard("{") + skipped + streamed(text, zstd.WithWindowSize(8<<20)) + zstandard("}") + skipped, "{" + text + "}"},
	} {
		t.Run(name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"whole": strings.NewReader(c.encoded), "byte by byte": iotest.OneByteReader(strings.NewReader(c.encoded)),
				"data with EOF": iotest.DataErrReader(strings.NewReader(c.encoded)),
			} {
				got, err := decode(c.coding, r, nil)
				if err != nil || got != c.want {
					t.Errorf("%s: got %d bytes, %v; want %d", how, len(got), err, len(c.want))
				}
			}
		})
	}
}

func TestInvalidBodies(t *testing.T) {
	z := zstandard(text)
	flip := func(s string, at int) string { return s[:at] + string(s[at]^0x80) + s[at+1:] }
	// The checksum and the size are the last eight bytes of a gzip member.
	g := gzipped(text)
	for name, c := range map[string]struct {
		coding        coding.Coding
		encoded, want string
	}{
		"gzip, plain":            {coding.Gzip, `{"images":[]}`, "Invalid gzip body: the body does not begin with its header"},
		"gzip, zstd":             {coding.Gzip, z, "Invalid gzip body: the body does not begin with its header"},
		"gzip, more after it":    {coding.Gzip, g + `{"images":[]}`, "Invalid gzip body: unexpected data after the end"},
		"gzip, a byte after it":  {coding.Gzip, g + "\n", "Invalid gzip body: unexpected end of the body"},
		"gzip, wrong checksum":   {coding.Gzip, flip(g, len(g)-8), "Invalid gzip body: wrong checksum"},
		"gzip, wrong size":       {coding.Gzip, flip(g, len(g)-4), "Invalid gzip body: wrong checksum"},
		"gzip, damaged":          {coding.Gzip, g[:30] + strings.Repeat("\xff", 200) + g[230:], "Invalid gzip body: damaged data"},
		"zstd, plain":            {coding.Zstd, `{"images":[]}`, "Invalid zstd body: the body does not begin with its header"},
		"zstd, gzip":             {coding.Zstd, g, "Invalid zstd body: the body does not begin with its header"},
		"zstd, more after it":    {coding.Zstd, z + `{"images":[]}`, "Invalid zstd body: unexpected data after the end"},
		"zstd, a byte after it":  {coding.Zstd, z + "\n", "Invalid zstd body: unexpected end of the body"},
		"zstd, half a header":    {coding.Zstd, z + z[:5], "Invalid zstd body: unexpected end of the body"},
		"zstd, half a skipped":   {coding.Zstd, z + skipped[:10], "Invalid zstd body: unexpected end of the body"},
		"zstd, wrong checksum":   {coding.Zstd, flip(z, len(z)-1), "Invalid zstd body: wrong checksum"},
		"zstd, window over 8 MB": {coding.Zstd, streamed(text, zstd.WithWindowSize(16<<20)), "Invalid zstd body: a window of 16777216 bytes, the maximum is 8388608"},
		"zstd, of a gigabyte":    {coding.Zstd, "\x28\xb5\x2f\xfd\xa0\x00\x00\x00\x40\x01\x00\x00", "Invalid zstd body: a window of 1073741824 bytes, the maximum is 8388608"},
		"zstd, a dictionary":     {coding.Zstd, "\x28\xb5\x2f\xfd\x21\x07\x01\x09\x00\x00x", "Invalid zstd body: dictionaries are not supported"},
		"zstd, reserved block":   {coding.Zstd, "\x28\xb5\x2f\xfd\x20\x01\x0f\x00\x00x", "Invalid zstd body: damaged data"},
		"zstd, a later window":   {coding.Zstd, z + streamed(text, zstd.WithWindowSize(16<<20)), "Invalid zstd body: a window of 16777216 bytes, the maximum is 8388608"},
	} {
		t.Run(name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"whole": strings.NewReader(c.encoded), "byte by byte": iotest.OneByteReader(strings.NewReader(c.encoded)),
			} {
				_, err := decode(c.coding, r, nil)
				if invalid, ok := errors.AsType[*coding.Error](err); !ok || invalid.Text != c.want {
					t.Errorf("%s: got %v, want %s", how, err, c.want)
				}
			}
		})
	}
}

// TestCutBodies verifies that no start of a body passes for a whole one, except the start of
// several that ends between two of them.
func TestCutBodies(t *testing.T) {
	for c, parts := range map[coding.Coding][]string{
		coding.Gzip: {gzipped("one", gzip.Header{Name: "a", Extra: []byte("xyz")}), gzipped("two", gzip.Header{Name: "b", Comment: "c"})},
		coding.Zstd: {zstandard("one"), skipped, streamed("two"), streamed("three", zstd.WithEncoderCRC(false))},
	} {
		whole := strings.Join(parts, "")
		ends, end := map[int]bool{0: true}, 0
		for _, part := range parts {
			end += len(part)
			ends[end] = true
		}
		for n := range len(whole) + 1 {
			_, err := decode(c, strings.NewReader(whole[:n]), nil)
			invalid, _ := errors.AsType[*coding.Error](err)
			if ends[n] && err != nil || !ends[n] && (invalid == nil || !strings.HasSuffix(invalid.Text, "unexpected end of the body")) {
				t.Errorf("%s: the first %d of %d bytes: got %v", c, n, len(whole), err)
			}
		}
	}
}

// TestErrorsPassThrough verifies that an error of the connection is returned as it is,
// wherever it occurs, even if it looks like the end of the body.
func TestErrorsPassThrough(t *testing.T) {
	cause := fmt.Errorf("connection lost: %w", io.ErrUnexpectedEOF)
	for c, whole := range map[coding.Coding]string{
		coding.Gzip: gzipped("one") + gzipped("two"), coding.Zstd: zstandard("one") + skipped + streamed("two"), coding.Identity: "one",
	} {
		for n := range len(whole) + 1 {
			in := c.NewReader(io.MultiReader(strings.NewReader(whole[:n]), iotest.ErrReader(cause)), nil)
			for range 2 {
				if _, err := io.ReadAll(in); err != cause { //nolint:errorlint // Not wrapped again.
					t.Errorf("%s: after %d bytes: got %v", c, n, err)
				}
			}
		}
	}
}

func TestOf(t *testing.T) {
	for header, want := range map[string]coding.Coding{
		"": coding.Identity, "identity": coding.Identity, " Identity ,, identity": coding.Identity,
		"gzip": coding.Gzip, "GZIP": coding.Gzip, "x-gzip": coding.Gzip, "identity, gzip": coding.Gzip, "\tgzip\t": coding.Gzip,
		"zstd": coding.Zstd, "Zstd": coding.Zstd,
		"br": "", "deflate": "", "compress": "", "gzip, gzip": "", "gzip, zstd": "", "gzip;q=1": "", "*": "", "gzip zstd": "", "utf-8": "",
	} {
		got, err := coding.Of([]string{header})
		if got != want || (want == "") != errors.Is(err, coding.ErrUnsupported) {
			t.Errorf("%q: got %q, %v; want %q", header, got, err, want)
		}
	}
	if got, err := coding.Of(nil); got != coding.Identity || err != nil {
		t.Errorf("no header: got %q, %v", got, err)
	}
	if got, err := coding.Of([]string{"gzip", "gzip"}); err == nil {
		t.Errorf("two headers: got %q", got)
	}
}

// FuzzReader compares the reader with the decoders that it uses, which have the whole body in
// memory: all accept the same bodies and decode the same bytes, whatever the size of the reads.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{gzipped("one") + gzipped("two"), zstandard("one") + skipped + streamed("two"), streamed(text[:1000]), "{}"} {
		f.Add([]byte(seed))
	}
	plain, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderMaxMemory(8<<20))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(plain.Close)
	models := map[coding.Coding]func([]byte) ([]byte, error){
		coding.Zstd: func(b []byte) ([]byte, error) { return plain.DecodeAll(b, nil) },
		coding.Gzip: func(b []byte) ([]byte, error) {
			if len(b) == 0 {
				return nil, nil
			}
			r, err := gzip.NewReader(bytes.NewReader(b))
			if err != nil {
				return nil, err
			}
			return io.ReadAll(io.LimitReader(r, 8<<20))
		},
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		for c, model := range models {
			want, wantErr := model(encoded)
			if errors.Is(wantErr, zstd.ErrDecoderSizeExceeded) || len(want) >= 8<<20 {
				continue
			}
			for _, r := range []io.Reader{bytes.NewReader(encoded), iotest.OneByteReader(bytes.NewReader(encoded))} {
				got, err := decode(c, r, nil)
				if (err == nil) != (wantErr == nil) || err == nil && got != string(want) {
					t.Errorf("%s: got %d bytes, %v; want %d, %v", c, len(got), err, len(want), wantErr)
				}
			}
		}
	})
}
