package archive_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/archive"
)

var modified = time.Date(2026, 11, 23, 18, 0, 1, 0, time.UTC)

type file struct{ name, content string }

// files are the entries of the tests: text, a name of another script, nothing, and content
// that has the signatures of a ZIP.
var files = []file{
	{"photo.jpg", strings.Repeat("photo", 20_000)},
	{"фото – 写真.jpg", "another"},
	{"empty.jpg", ""},
	{"like a zip.jpg", "PK\x03\x04PK\x07\x08PK\x01\x02PK\x05\x06" + strings.Repeat("\x00", 30)},
	{"manifest.jsonl", "{}\n"},
}

// write returns an archive of the files.
func write(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := archive.NewWriter(&b)
	for _, f := range files {
		if err := w.Add(entry(f), strings.NewReader(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func entry(f file) archive.Entry {
	return archive.Entry{Name: f.name, Modified: modified, Size: int64(len(f.content)), Sum: crc32.ChecksumIEEE([]byte(f.content))}
}

// TestStreamed reads the archive from its start, as Java's ZipInputStream does: only from
// the headers in front of the entries.
func TestStreamed(t *testing.T) {
	rest := write(t)
	var got []file
	for binary.LittleEndian.Uint32(rest) == 0x04034b50 {
		flags, method, sum := binary.LittleEndian.Uint16(rest[6:]), binary.LittleEndian.Uint16(rest[8:]), binary.LittleEndian.Uint32(rest[14:])
		stored, size := binary.LittleEndian.Uint32(rest[18:]), binary.LittleEndian.Uint32(rest[22:])
		names, extra := int(binary.LittleEndian.Uint16(rest[26:])), int(binary.LittleEndian.Uint16(rest[28:]))
		if flags != 0x800 || method != 0 || stored != size { // UTF-8, no data descriptor, stored
			t.Fatalf("entry %d has the flags %#x, the method %d and %d of %d bytes", len(got), flags, method, stored, size)
		}
		if version := binary.LittleEndian.Uint16(rest[4:]); version != 20 {
			t.Errorf("entry %d needs version %d, want 20", len(got), version)
		}
		name := string(rest[30 : 30+names])
		content := rest[30+names+extra:][:size]
		if crc32.ChecksumIEEE(content) != sum {
			t.Errorf("the checksum of %q is not %x", name, sum)
		}
		got = append(got, file{name, string(content)})
		rest = rest[30+names+extra+int(size):]
	}
	if !slices.Equal(got, files) {
		t.Errorf("got %d files, or others than were written", len(got))
	}
	if binary.LittleEndian.Uint32(rest) != 0x02014b50 {
		t.Errorf("after the entries: got %x, want the directory", rest[:4])
	}
}

// TestDirectory reads the archive by its directory.
func TestDirectory(t *testing.T) {
	data := write(t)
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var got []file
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, file{f.Name, string(content)})
		if !f.Modified.Equal(modified) || f.Mode() != 0o644 || f.NonUTF8 {
			t.Errorf("%q: got %v, %v, not UTF-8: %t", f.Name, f.Modified, f.Mode(), f.NonUTF8)
		}
	}
	if !slices.Equal(got, files) {
		t.Errorf("got %d files, or others than were written", len(got))
	}
}

// TestOtherPrograms unpacks the archive with the programs that are installed.
func TestOtherPrograms(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.zip")
	if err := os.WriteFile(path, write(t), 0o600); err != nil {
		t.Fatal(err)
	}
	const python = `import sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
print("\n".join("%s %d" % (i.filename, len(z.read(i))) for i in z.infolist()))`
	list := ""
	for _, f := range files {
		list += fmt.Sprintf("%s %d\n", f.name, len(f.content))
	}
	for _, c := range []struct {
		program []string
		want    string // in the output
	}{
		{[]string{"unzip", "-tqq", path}, ""},
		{[]string{"python3", "-X", "utf8", "-c", python, path}, list},
	} {
		t.Run(c.program[0], func(t *testing.T) {
			if _, err := exec.LookPath(c.program[0]); err != nil {
				t.Skip(err)
			}
			out, err := exec.CommandContext(t.Context(), c.program[0], c.program[1:]...).CombinedOutput() //nolint:gosec // the programs of the test
			if err != nil || string(out) != c.want {
				t.Errorf("got %v\n%s\nwant\n%s", err, out, c.want)
			}
		})
	}
}

// TestWrongContent verifies that an entry whose content is not as announced is an error,
// because its header has already been written.
func TestWrongContent(t *testing.T) {
	broken := errors.New("broken")
	for name, content := range map[string]io.Reader{
		"longer": strings.NewReader("photo!"), "shorter": strings.NewReader("phot"), "other": strings.NewReader("Photo"),
		"broken": io.MultiReader(strings.NewReader("pho"), errReader{broken}),
	} {
		err := archive.NewWriter(io.Discard).Add(entry(file{"photo.jpg", "photo"}), content)
		if err == nil || name == "broken" != errors.Is(err, broken) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// TestZIP64 writes an entry that starts behind 4 GiB, which are a hole in the file.
func TestZIP64(t *testing.T) {
	const before = 5 << 30
	f, err := os.Create(filepath.Join(t.TempDir(), "large.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Seek(before, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	w := archive.NewWriter(f)
	w.StartAt(before)
	if err := w.Add(entry(files[0]), strings.NewReader(files[0].content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(f, size)
	if err != nil || len(r.File) != 1 {
		t.Fatalf("got %v, %v", r, err)
	}
	in, err := r.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(in)
	if offset, _ := r.File[0].DataOffset(); err != nil || string(content) != files[0].content || offset <= before {
		t.Errorf("the entry at %d has %d bytes, %v", offset, len(content), err)
	}
}
