package imagefile

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// MaxRawProfile is the limit for a raw profile, in bytes without the hex digits.
const MaxRawProfile = 1 << 20

// maxRawText is the limit for the text of a raw profile: two digits for each byte, and line breaks.
const maxRawText = 2*MaxRawProfile + MaxRawProfile/32 + 1<<10

// rawLine is the number of hex digits of a line.
const rawLine = 72

// rawPrefix is the start of the keywords under which ImageMagick stores EXIF, IPTC-IIM or XMP in a text chunk, as
// hex digits.
const rawPrefix = "raw profile type "

// isRawProfile reports whether a keyword names a raw profile with metadata. Programs disagree about the case, and
// call EXIF and XMP either by their names or by the segment of a JPEG.
func isRawProfile(keyword string) bool {
	kind, ok := strings.CutPrefix(strings.ToLower(keyword), rawPrefix)
	return ok && slices.Contains([]string{"exif", "app1", "iptc", "8bim", "app13", "xmp"}, kind)
}

// RawBlock is a block of metadata in a raw profile.
type RawBlock struct {
	block  Block
	kind   Kind   // EXIF, XMP or Photoshop; also Photoshop for IPTC-IIM without image resources
	name   string // on its first line
	prefix []byte // the name that the block has in a JPEG
	data   []byte
}

// rawProfile decodes a raw profile. It is not ok if it cannot be read. large means that it exceeds the limit.
func (b Block) rawProfile() (r RawBlock, large, ok bool) {
	if b.Odd || b.Text == nil {
		return r, false, false
	}
	text := b.Text.Value
	if b.Text.Deflated {
		text, _ = inflate(text, maxRawText+1) // the output before any damage is kept
	}
	if len(text) > maxRawText {
		return r, true, false
	}
	// The text is a name, the number of bytes, and the bytes, each on lines of its own.
	name, rest, ok := bytes.Cut(bytes.TrimLeft(text, "\r\n"), []byte{'\n'})
	if !ok {
		return r, false, false
	}
	size, digits, ok := bytes.Cut(rest, []byte{'\n'})
	if !ok || len(bytes.Trim(size, " \t\r0123456789")) > 0 {
		return r, false, false
	}
	r.block, r.name, r.data = b, string(bytes.TrimSpace(name)), fromHex(digits)
	if len(r.data) > MaxRawProfile {
		return r, true, false
	}
	for _, k := range [...]struct {
		kind   Kind
		prefix string
		cut    bool
	}{
		{EXIF, exifName + "\x00", true}, {EXIF, "II*\x00", false}, {EXIF, "MM\x00*", false},
		{XMP, xmpName, true}, {Photoshop, photoshopName, true}, {Photoshop, "8BIM", false}, {Photoshop, "\x1c", false},
	} {
		if bytes.HasPrefix(r.data, []byte(k.prefix)) {
			if r.kind = k.kind; k.cut {
				r.prefix, r.data = r.data[:len(k.prefix)], r.data[len(k.prefix):]
			}
			return r, false, true
		}
	}
	if strings.HasSuffix(strings.ToLower(b.Text.Keyword), " xmp") {
		r.kind = XMP
	}
	return r, false, r.kind != 0 && len(r.data) > 0
}

// fromHex decodes hex digits up to the first byte that is neither a digit nor white space.
func fromHex(digits []byte) []byte {
	packed := make([]byte, 0, len(digits))
	for _, c := range digits {
		switch {
		case c == '\n' || c == '\r' || c == ' ' || c == '\t':
			continue
		case c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f':
			packed = append(packed, c)
			continue
		}
		break
	}
	n, _ := hex.Decode(packed, packed[:len(packed)/2*2]) // in place: every byte is written behind its digits
	return packed[:n]
}

// In reports whether the raw profile is in a block.
func (r RawBlock) In(b Block) bool { return r.block.Whole == b.Whole }

// with returns the chunk of the raw profile with other content.
func (r RawBlock) with(file, content []byte) []byte {
	digits := hex.AppendEncode(nil, append(slices.Clip(r.prefix), content...))
	text := fmt.Appendf(nil, "\n%s\n%8d\n", r.name, len(digits)/2)
	for line := range slices.Chunk(digits, rawLine) {
		text = append(append(text, line...), '\n')
	}
	if r.block.Text.Deflated {
		var b bytes.Buffer
		z := zlib.NewWriter(&b)
		_, _ = z.Write(text) // writes to memory do not fail
		_ = z.Close()
		text = b.Bytes()
	}
	// The keyword and what else precedes the text stay.
	whole := r.block.Whole
	return newChunk(string(file[whole.Start+4:whole.Start+8]), file[whole.Start+8:r.block.Data.Start], text)
}
