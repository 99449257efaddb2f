package embed

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile/tiff"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// The parts of files that the tests write.
const (
	jpegStart = "\xff\xd8"
	pngStart  = "\x89PNG\r\n\x1a\n"

	markerSOS   = 0xda
	markerEOI   = 0xd9
	markerAPP0  = 0xe0
	markerAPP1  = 0xe1
	markerAPP2  = 0xe2
	markerAPP11 = 0xeb
	markerAPP13 = 0xed

	exifSignature      = "Exif\x00"
	xmpSignature       = "http://ns.adobe.com/xap/1.0/\x00"
	extensionSignature = "http://ns.adobe.com/xmp/extension/\x00"
	mpfSignature       = "MPF\x00"
	photoshopSignature = "Photoshop 3.0\x00"

	xmpKeyword = "XML:com.adobe.xmp\x00"

	tiffHeader = 8
	entrySize  = 12
	chunkExtra = 12

	maxJPEGPacket = 65502
)

// sample is an analysis with a value in every field that is written.
func sample() pipeline.Metadata {
	return pipeline.Metadata{
		AnalyzerVersion: "1.2.0",
		Title:           "Landscape in blue & grey", Description: `A picture of 48 by 32 pixels, <blue> and "grey".`,
		Keywords: []string{"blue", "grey", "landscape, wide"},
		Composed: []string{"title", "description", "keywords"},
		Format:   "jpeg", Width: 48, Height: 32, Shape: "landscape", Orientation: 1,
		BitDepth: 8, ColorModel: "ycbcr", HasAlpha: true, AlphaUsed: true, ICCProfile: "sRGB IEC61966-2.1",
		Progressive: true, JPEGQuality: 85, Animated: true, EntropyChecked: "full", FileSize: 4711,
		SHA256:    strings.Repeat("0123456789abcdef", 4),
		MeanColor: "#8040c0",
		Colors: []pipeline.ColorShare{
			{Hex: "#7f3fbf", Share: 0.6125, Name: "darkorchid", Lab: [3]float64{39.86, 54.14, -55.86}},
			{Hex: "#ffffff", Share: 0.25, Name: "white", Lab: [3]float64{100, 0, 0}},
			{Hex: "#000000", Share: 0.1375, Name: "black"},
		},
		Saturation: 0.5, Colorfulness: 33.21, Warmth: -0.0123,
		Brightness: 0.4321, Contrast: 0.1234, Entropy: 7.123, ShadowsClipped: 0.01, HighlightsClipped: 0.02,
		Sharpness: 815.25, Flags: []string{"dark", "monochrome"},
		BlurHash: `LEHV6nWB2yk8pyo0adR*.7kCMdnj&<>"'`, ThumbHash: "3OcRJYB4d3h/iIeHeEh3eIhw+j2w",
		DHash: "0f1e2d3c4b5a6978", PHash: "c3d1e2f0a5b49687",
	}
}

// uncaptioned is the sample for an image with a caption of its own.
func uncaptioned() pipeline.Metadata {
	m := sample()
	m.Composed = nil
	return m
}

// testImage returns a small image with some detail.
func testImage() *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, 48, 32))
	for y := range 32 {
		for x := range 48 {
			m.SetNRGBA(x, y, color.NRGBA{uint8(x * 5), uint8(y * 8), uint8(x * y), uint8(255 - x)})
		}
	}
	return m
}

// plainJPEG returns a JPEG without any APP segment, as image/jpeg writes it.
func plainJPEG(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, testImage(), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// plainPNG returns a PNG with only IHDR, IDAT and IEND.
func plainPNG(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// segment returns a JPEG segment.
func segment(marker byte, payload string) string {
	return string(binary.BigEndian.AppendUint16([]byte{0xff, marker}, uint16(2+len(payload)))) + payload
}

// withSegments inserts segments after the SOI of a JPEG.
func withSegments(file []byte, segments ...string) []byte {
	return []byte(jpegStart + strings.Join(segments, "") + string(file[2:]))
}

// Segments that real files start with.
var (
	jfif = segment(markerAPP0, "JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")
	exif = segment(markerAPP1, "Exif\x00\x00"+
		"MM\x00*\x00\x00\x00\x08"+ // big-endian, IFD0 at 8
		"\x00\x02"+
		"\x01\x0f\x00\x02\x00\x00\x00\x05\x00\x00\x00\x26"+ // Make, 5 bytes at 38
		"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"+ // Orientation 6
		"\x00\x00\x00\x00"+
		"Acme\x00\x00")
	icc = segment(markerAPP2, "ICC_PROFILE\x00\x01\x01"+strings.Repeat("\x00colour", 80))
)

func xmpSegment(packet string) string { return segment(markerAPP1, xmpSignature+packet) }

// extendedXMP returns one segment of extended XMP; the main packet contains its digest.
func extendedXMP() string {
	return segment(markerAPP1, "http://ns.adobe.com/xmp/extension/\x00"+
		"0123456789ABCDEF0123456789ABCDEF"+"\x00\x00\x00\x08\x00\x00\x00\x00"+"<x:more>")
}

// foreign returns a packet as another program would write it, around some properties.
func foreign(properties string) string {
	return "<?xpacket begin=\"\ufeff\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n" +
		`<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 5.6-c140">` + "\n" +
		` <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">` + "\n" +
		properties + "\n </rdf:RDF>\n</x:xmpmeta>\n" + strings.Repeat(strings.Repeat(" ", 99)+"\n", 4) +
		`<?xpacket end="w"?>`
}

const motionPhoto = `  <rdf:Description rdf:about=""
    xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"
    xmlns:Container="http://ns.google.com/photos/1.0/container/"
    xmlns:Item="http://ns.google.com/photos/1.0/container/item/"
    xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"
    hdrgm:Version="1.0"
    GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion='1'
    GCamera:MotionPhotoPresentationTimestampUs="968644">
   <Container:Directory>
    <rdf:Seq>
     <rdf:li rdf:parseType="Resource">
      <Container:Item Item:Mime="image/jpeg" Item:Semantic="Primary" Item:Length="0" Item:Padding="0"/>
     </rdf:li>
     <rdf:li rdf:parseType="Resource">
      <Container:Item Item:Mime="video/mp4" Item:Semantic="MotionPhoto" Item:Length="3511"/>
     </rdf:li>
    </rdf:Seq>
   </Container:Directory>
  </rdf:Description>`

// chunk returns a PNG chunk.
func chunk(kind, data string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	b = append(append(b, kind...), data...)
	return string(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:])))
}

// xmpChunk returns an iTXt chunk with a packet.
func xmpChunk(packet string) string { return chunk("iTXt", xmpKeyword+"\x00\x00\x00\x00"+packet) }

func compressedXMPChunk(t testing.TB, packet string) string {
	t.Helper()
	return chunk("iTXt", xmpKeyword+"\x01\x00\x00\x00"+deflated(t, packet))
}

func deflated(t testing.TB, packet string) string {
	t.Helper()
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	if _, err := z.Write([]byte(packet)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const afterIHDR = len(pngStart) + chunkExtra + 13

// withChunks inserts chunks after the IHDR of a PNG and others after its pixels.
func withChunks(file []byte, early, late string) []byte {
	end := len(file) - chunkExtra
	return []byte(string(file[:afterIHDR]) + early + string(file[afterIHDR:end]) + late + string(file[end:]))
}

// animated turns a PNG into an APNG of two frames with the same pixels.
func animated(file []byte) []byte {
	frame := func(sequence, delay byte) string {
		return chunk("fcTL", "\x00\x00\x00"+string(sequence)+"\x00\x00\x00\x30\x00\x00\x00\x20"+
			"\x00\x00\x00\x00\x00\x00\x00\x00\x00"+string(delay)+"\x00\x0a\x00\x00")
	}
	length := binary.BigEndian.Uint32(file[afterIHDR:])
	pixels := string(file[afterIHDR+8 : afterIHDR+8+int(length)])
	return withChunks(file, chunk("acTL", "\x00\x00\x00\x02\x00\x00\x00\x00")+frame(0, 1),
		frame(1, 2)+chunk("fdAT", "\x00\x00\x00\x02"+pixels))
}

// multiPicture returns a JPEG with an MPF index, followed by a second JPEG and other bytes. before precedes the
// index, after follows it.
func multiPicture(t testing.TB, order tiff.ByteOrder, before, after string) (file, second []byte) {
	t.Helper()
	first, second := plainJPEG(t), plainJPEG(t)
	index := func(firstSize, secondOffset int) string {
		u16 := func(v int) string { return string(order.AppendUint16(nil, uint16(v))) }
		u32 := func(v int) string { return string(order.AppendUint32(nil, uint32(v))) }
		tiff := "MM\x00*"
		if order.Uint16([]byte{1, 0}) == 1 {
			tiff = "II*\x00"
		}
		const ifd, entries = 8, 8 + 2 + 3*12 + 4
		return segment(markerAPP2, mpfSignature+tiff+u32(ifd)+u16(3)+
			u16(0xb000)+u16(7)+u32(4)+"0100"+
			u16(0xb001)+u16(4)+u32(1)+u32(2)+
			u16(0xb002)+u16(7)+u32(32)+u32(entries)+
			u32(0)+
			u32(0x20030000)+u32(firstSize)+u32(0)+u16(0)+u16(0)+
			u32(0)+u32(len(second))+u32(secondOffset)+u16(0)+u16(0))
	}
	size := len(first) + len(before) + len(index(0, 0)) + len(after)
	header := len(jpegStart) + len(before) + 4 + len(mpfSignature)
	file = withSegments(first, before, index(size, size-header), after)
	if len(file) != size {
		t.Fatalf("built %d bytes, want %d", len(file), size)
	}
	return append(append(file, second...), "a trailer of the camera"...), second
}
