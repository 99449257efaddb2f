package embed

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/iptc"
)

// rawText returns the text of a raw profile.
func rawText(name, data string) string {
	return fmt.Sprintf("\n%s\n%8d\n%s\n", name, len(data), hex.EncodeToString([]byte(data)))
}

// TestMergesIntoARawProfile verifies that a packet in a raw profile stays there, with ours in it: with a packet of
// ours in the usual place, readers would not look for the old one.
func TestMergesIntoARawProfile(t *testing.T) {
	packet := foreign(motionPhoto)
	for name, c := range map[string]string{
		"tEXt":          chunk("tEXt", "Raw profile type xmp\x00"+rawText("xmp", packet)),
		"zTXt":          chunk("zTXt", "Raw profile type xmp\x00\x00"+deflated(t, rawText("xmp", packet))),
		"iTXt":          chunk("iTXt", "raw profile type XMP\x00\x01\x00en\x00\x00"+deflated(t, rawText("xmp", packet))),
		"as in a JPEG":  chunk("zTXt", "Raw profile type APP1\x00\x00"+deflated(t, rawText("generic", xmpSignature+packet))),
		"upper case":    chunk("tEXt", "Raw profile type xmp\x00"+strings.ToUpper(rawText("xmp", packet))),
		"a wrong count": chunk("tEXt", "Raw profile type xmp\x00"+strings.Replace(rawText("xmp", packet), " ", "9", 1)),
	} {
		t.Run(name, func(t *testing.T) {
			data := withChunks(plainPNG(t, testImage()), c, "")
			f := write(t, data)
			expect(t, f, Merged, "")
			m := metadataOf(t, f.Data)
			if m.Packet.Raw == nil || len(m.Further) > 0 || bytes.Contains(f.Data, []byte(xmpKeyword)) {
				t.Fatal("the packet is not in the raw profile")
			}
			if want := string(f.Sidecar); string(m.Packet.Text) != want || !strings.Contains(want, motionPhoto) || m.XMP.Text("dc:title") != sample().Title {
				t.Errorf("packet %s", m.Packet.Text)
			}
			if bytes.Count(f.Data, []byte(c[4:16])) != 1 {
				t.Error("the keyword changed")
			}
			if again := write(t, f.Data); !bytes.Equal(again.Data, f.Data) {
				t.Error("writing twice differs from writing once")
			}
		})
	}
}

// TestKeepsWhatARawProfileStates verifies that a caption in a raw profile is kept.
func TestKeepsWhatARawProfileStates(t *testing.T) {
	titled := foreign(`<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:title="Bild"/>`)
	f := write(t, withChunks(plainPNG(t, testImage()), chunk("tEXt", "Raw profile type xmp\x00"+rawText("xmp", titled)), ""))
	m := metadataOf(t, f.Data)
	if m.XMP.Text("dc:title") != "Bild" || m.XMP.Text("dc:description") != sample().Description {
		t.Errorf("packet %s", m.Packet.Text)
	}
}

// TestLargeRawProfile verifies that a raw profile beyond the limit is not expanded, and that the file gets a packet.
func TestLargeRawProfile(t *testing.T) {
	bomb := chunk("zTXt", "Raw profile type xmp\x00\x00"+deflated(t, rawText("xmp", strings.Repeat(" ", 8<<20))))
	file := withChunks(plainPNG(t, testImage()), chunk("zTXt", "Raw profile type xmp\x00\x00"+deflatedSpaces(t)), "")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	metadataOf(t, file)
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 32<<20 {
		t.Errorf("%d bytes were allocated", after.TotalAlloc-before.TotalAlloc)
	}
	f := write(t, withChunks(plainPNG(t, testImage()), bomb, ""))
	if m := metadataOf(t, f.Data); f.XMP != Added || m.Packet.Raw != nil || !m.Unread {
		t.Errorf("XMP %s, %+v", f.XMP, f.Warnings)
	}
}

// TestResourcesInParts verifies that a list of image resources in several segments is read as one, wherever it was
// split, and that it is written in as many segments as it needs.
func TestResourcesInParts(t *testing.T) {
	whole := iptcSegment(iimVersion, set(2, 25, "Boot"), set(2, 120, "Ein Boot"))
	for at := 1; at < len(whole)-4-len(photoshopSignature); at += 7 {
		resources := whole[4+len(photoshopSignature):]
		data := withSegments(plainJPEG(t), segment(markerAPP13, photoshopSignature+resources[:at])+jfif+segment(markerAPP13, photoshopSignature+resources[at:]))
		f := write(t, data)
		m := metadataOf(t, f.Data).IPTC
		if f.IPTC != Filled || m.State != iptc.Sound || m.Edited() || !slices.Equal(m.Values(iptc.Title), []string{sample().Title}) ||
			!slices.Equal(m.Values(iptc.Keywords), []string{"Boot"}) || !slices.Equal(m.Values(iptc.Description), []string{"Ein Boot"}) {
			t.Errorf("split at %d: IPTC %s, %+v", at, f.IPTC, m.Sets)
		}
	}
	long := segment(markerAPP13, photoshopSignature+"8BIM\x04\x0f\x00\x00\x00\x00\xfd\xe8"+strings.Repeat("x", 65000))
	f := write(t, withSegments(plainJPEG(t), long, segment(markerAPP13, photoshopSignature+"8BIM\x04\x0f\x00\x00\x00\x00\xfc\x00"+strings.Repeat("x", 0xfc00)), iptcSegment(iimVersion)))
	if n := bytes.Count(f.Data, []byte(photoshopSignature)); f.IPTC != Filled || n != 2 || metadataOf(t, f.Data).IPTC.State != iptc.Sound {
		t.Errorf("IPTC %s in %d segments", f.IPTC, n)
	}
}

// metadataOf returns the parsed view of a file.
func metadataOf(t *testing.T, data []byte) imagefile.Metadata {
	t.Helper()
	l, err := imagefile.LayoutOf(data)
	if err != nil {
		t.Fatal(err)
	}
	return l.Metadata(data, imagefile.MaxPacket)
}
