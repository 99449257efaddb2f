// Package archive writes the results of a job as one ZIP file: names that every system
// can unpack, and entries that every program can read while they arrive.
//
// The entries are stored as they are, because images do not become smaller. The header of
// an entry has its size and its checksum, so the writer must know both before the first
// byte. A data descriptor behind the entry would make that unnecessary, but programs that
// read a ZIP from its start, as Java's ZipInputStream does, cannot find the end of a
// stored entry with one.
//
// It uses the standard library's archive/zip, which writes the ZIP64 form where a size
// or an offset needs it.
package archive

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// Writer writes a ZIP file to another writer. It is used by one goroutine.
type Writer struct{ zip *zip.Writer }

// NewWriter returns a writer of a ZIP file to w. It writes in small pieces, and those of
// an entry's content as large as it reads them.
func NewWriter(w io.Writer) *Writer { return &Writer{zip.NewWriter(w)} }

// Entry describes the content of an entry.
type Entry struct {
	Name     string // from Names
	Modified time.Time
	Size     int64  // bytes
	Sum      uint32 // CRC-32 (IEEE)
}

// Flags and versions of an entry (APPNOTE.TXT, sections 4.4.2 to 4.4.4).
const (
	flagUTF8    = 0x800
	needVersion = 20 // 2.0, the first one with folders
)

// Add writes an entry. It returns an error if the content is not as described; the file
// must then be abandoned.
func (w *Writer) Add(e Entry, content io.Reader) error {
	h := &zip.FileHeader{
		Name: e.Name, Method: zip.Store, Flags: flagUTF8, ReaderVersion: needVersion,
		CRC32: e.Sum, CompressedSize64: uint64(e.Size), UncompressedSize64: uint64(e.Size),
		Extra: extendedTime(e.Modified),
	}
	h.SetModTime(e.Modified) //nolint:staticcheck // CreateRaw ignores Modified.
	h.Modified = time.Time{}
	h.SetMode(0o644)
	out, err := w.zip.CreateRaw(h)
	if err != nil {
		return fmt.Errorf("add %q to the archive: %w", e.Name, err)
	}
	sum := crc32.NewIEEE()
	n, err := io.Copy(out, io.TeeReader(content, sum))
	if err != nil {
		return fmt.Errorf("add %q to the archive: %w", e.Name, err)
	}
	if n != e.Size || sum.Sum32() != e.Sum {
		return fmt.Errorf("add %q to the archive: its %d bytes are not the %d bytes that were read before", e.Name, n, e.Size)
	}
	return nil
}

// extendedTime returns the extra field with the modification time in UTC. The header's
// own time has no time zone and steps of two seconds.
func extendedTime(t time.Time) []byte {
	b := binary.LittleEndian.AppendUint16(nil, 0x5455)
	b = binary.LittleEndian.AppendUint16(b, 5) // bytes that follow
	b = append(b, 1)                           // only the modification time
	return binary.LittleEndian.AppendUint32(b, uint32(t.Unix()))
}

// Close writes the directory, without which the file is incomplete.
func (w *Writer) Close() error {
	if err := w.zip.Close(); err != nil {
		return fmt.Errorf("write the directory of the archive: %w", err)
	}
	return nil
}
