package describe

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/jpeg"
	"testing"

	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// describe describes an image and validates the record against its schema.
func describe(t testing.TB, data []byte) (pipeline.Metadata, image.Image) {
	t.Helper()
	m, thumbnail, err := New(Config{}).Describe(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	checkSchema(t, m)
	small, err := jpeg.Decode(bytes.NewReader(thumbnail))
	if err != nil {
		t.Fatalf("decode thumbnail: %v", err)
	}
	return m, small
}

// garbagePNG returns a PNG with valid chunks whose pixels are garbage.
func garbagePNG() []byte {
	chunk := func(kind string, payload []byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
		b = append(append(b, kind...), payload...)
		return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
	}
	header := []byte{0, 0, 0, 8, 0, 0, 0, 8, 8, 2, 0, 0, 0}
	return bytes.Join([][]byte{
		[]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", header), chunk("IDAT", []byte("these are no pixels")), chunk("IEND", nil),
	}, nil)
}
