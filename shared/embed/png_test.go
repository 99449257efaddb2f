package embed

import (
	"bytes"
	"compress/zlib"
	"hash/adler32"
	"image"
	"image/color"
	"runtime"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
)

func deepPNG(t testing.TB) []byte {
	t.Helper()
	m := image.NewNRGBA64(image.Rect(0, 0, 48, 32))
	for y := range 32 {
		for x := range 48 {
			m.SetNRGBA64(x, y, color.NRGBA64{uint16(x * 1361), uint16(y * 2047), uint16(x * y * 41), uint16(65535 - x)})
		}
	}
	return plainPNG(t, m)
}

// The chunks of other programs.
var (
	text = chunk("tEXt", "Software\x00gd-jpeg v1.0") + chunk("tEXt", "Raw profile type xmp\x00\nxmp\n4\n61626364")
	itxt = chunk("iTXt", "Title\x00\x00\x00de\x00Titel\x00Sch\u00f6n")
)

func TestPNGPlace(t *testing.T) {
	for _, c := range []struct {
		name        string
		file        []byte
		early, late string
	}{
		{"nothing but pixels", plainPNG(t, testImage()), "", ""},
		{"text", plainPNG(t, testImage()), text + itxt, text},
		{"sixteen bits", deepPNG(t), chunk("gAMA", "\x00\x00\xb1\x8f"), ""},
		{"animated", animated(plainPNG(t, testImage())), "", ""},
		{"keyword with the same start", plainPNG(t, testImage()), chunk("iTXt", "XML:com.adobe.xmpx\x00\x00\x00\x00\x00<a/>"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := append(withChunks(c.file, c.early, c.late), "behind the end"...)
			f := write(t, data)
			expect(t, f, Added, "")
			samePixels(t, data, f.Data)
			want := string(data[:afterIHDR])
			if !strings.HasPrefix(string(f.Data), want) || string(f.Data[afterIHDR+4:afterIHDR+8]) != "iTXt" {
				t.Error("no iTXt chunk directly after IHDR")
			}
			if !bytes.HasSuffix(f.Data, data[afterIHDR:]) {
				t.Error("the following bytes changed")
			}
		})
	}
}

func TestPNGMerges(t *testing.T) {
	packet := foreign(motionPhoto)
	for _, c := range []struct {
		name        string
		early, late string
	}{
		{"plain", text + xmpChunk(packet) + itxt, ""},
		{"compressed", text + compressedXMPChunk(t, packet) + itxt, ""},
		{"with a language", chunk("iTXt", xmpKeyword+"\x01\x00en\x00Metadaten\x00"+deflated(t, packet)), ""},
		{"zTXt", text + chunk("zTXt", xmpKeyword+"\x00"+deflated(t, packet)) + itxt, ""},
		{"tEXt", text + chunk("tEXt", xmpKeyword+packet) + itxt, ""},
		{"after the pixels", text, itxt + xmpChunk(packet)},
		{"compressed, after the pixels", text, compressedXMPChunk(t, packet) + itxt},
		{"two packets", xmpChunk(packet), xmpChunk(foreign(""))},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := withChunks(plainPNG(t, testImage()), c.early, c.late)
			f := write(t, data)
			expect(t, f, Merged, "")
			samePixels(t, data, f.Data)
			at := bytes.Index(f.Data, []byte(xmpKeyword+"\x00\x00\x00\x00<?xpacket"))
			if at < 0 {
				t.Fatal("no uncompressed packet")
			}
			if at > bytes.Index(f.Data, []byte("IDAT")) {
				t.Error("the packet is after the pixels")
			}
			if !bytes.Contains(f.Data, []byte(motionPhoto)) || !bytes.Contains(f.Data, []byte(`imagebatch:Height="32"`)) {
				t.Error("the packet does not contain both descriptions")
			}
		})
	}
}

func TestPNGReduces(t *testing.T) {
	old := foreign(`<rdf:Description rdf:about="" xmlns:a="urn:a" a:note="` + strings.Repeat("n", imagefile.MaxPacket-1200) + `"/>`)
	f := write(t, withChunks(plainPNG(t, testImage()), xmpChunk(old), ""))
	expect(t, f, Merged, Reduced)
}

// TestPNGLeftAlone lists files that are returned unchanged.
func TestPNGLeftAlone(t *testing.T) {
	whole := plainPNG(t, testImage())
	with := func(early string) []byte { return withChunks(whole, early, "") }
	damaged := []byte(xmpChunk(foreign(motionPhoto)))
	damaged[len(damaged)/2] ^= 1
	for _, c := range []struct {
		name    string
		data    []byte
		warning Warning
	}{
		{"content credentials", with(chunk("caBX", "jumbf")), Credentials},
		{"content credentials after the pixels", withChunks(whole, "", chunk("caBX", "jumbf")), Credentials},
		{"content credentials elsewhere", with(xmpChunk(foreign(`<rdf:Description rdf:about=""
			xmlns:d="http://purl.org/dc/terms/"><d:provenance>https://example.com/</d:provenance></rdf:Description>`))), Credentials},
		{"wrong checksum", with(string(damaged)), PacketMalformed},
		{"packet that expands too much", with(compressedXMPChunk(t, strings.Repeat(" ", imagefile.MaxPacket+1))), PacketTooLarge},
		{"packet too long", with(xmpChunk(strings.Repeat(" ", imagefile.MaxPacket+1))), PacketTooLarge},
		{"no flags", with(chunk("iTXt", xmpKeyword)), PacketMalformed},
		{"no text", with(chunk("iTXt", xmpKeyword+"\x00\x00en\x00")), PacketMalformed},
		{"not zlib", with(chunk("iTXt", xmpKeyword+"\x01\x00\x00\x00plain")), PacketMalformed},
		{"zlib cut off", with(chunk("iTXt", xmpKeyword+"\x01\x00\x00\x00\x78\x9c\x00")), PacketMalformed},
		{"other compression", with(chunk("iTXt", xmpKeyword+"\x01\x01\x00\x00plain")), PacketMalformed},
		{"other flag", with(chunk("iTXt", xmpKeyword+"\x02\x00\x00\x00plain")), PacketMalformed},
		{"zTXt without a method", with(chunk("zTXt", xmpKeyword)), PacketMalformed},
		{"zTXt of another method", with(chunk("zTXt", xmpKeyword+"\x01"+deflated(t, foreign("")))), PacketMalformed},
		{"broken packet", with(xmpChunk("<?xpacket begin?><x:xmpmeta")), PacketMalformed},
		{"signature only", []byte(pngStart), OddStructure},
		{"IHDR not first", []byte(pngStart + text + string(whole[8:])), OddStructure},
		{"two IHDR", with(string(whole[8:afterIHDR])), OddStructure},
		{"no pixels", []byte(string(whole[:afterIHDR]) + chunk("IEND", "")), OddStructure},
		{"no end", whole[:len(whole)-chunkExtra], OddStructure},
		{"cut off", whole[:len(whole)-1], OddStructure},
		{"chunk beyond the end", with("\x7f\xff\xff\xfftEXt"), OddStructure},
		{"chunk longer than allowed", with("\xff\xff\xff\xf0tEXt"), OddStructure},
	} {
		t.Run(c.name, func(t *testing.T) { expect(t, write(t, c.data), None, c.warning) })
	}
}

// deflatedSpaces returns a compressed stream of 64 MiB of spaces. The compressor's output is the same for the second MiB
// and every later one.
func deflatedSpaces(t *testing.T) string {
	t.Helper()
	const mebibytes = 64
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	spaces := bytes.Repeat([]byte(" "), 1<<20)
	second := 0
	for range 2 {
		second = b.Len()
		if _, err := z.Write(spaces); err != nil {
			t.Fatal(err)
		}
		if err := z.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	b.WriteString(strings.Repeat(string(b.Bytes()[second:]), mebibytes-2))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	// The writer's checksum does not include the repeated pieces.
	sum := adler32.New()
	for range mebibytes {
		_, _ = sum.Write(spaces)
	}
	return string(sum.Sum(b.Bytes()[:b.Len()-4]))
}

// TestPNGBomb verifies that a chunk of 64 kB that would expand to 64 MiB is not expanded.
func TestPNGBomb(t *testing.T) {
	data := withChunks(plainPNG(t, testImage()), chunk("iTXt", xmpKeyword+"\x01\x00\x00\x00"+deflatedSpaces(t)), "")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f, err := Write(data, sample(), Options{Composed: true})
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, f, None, PacketTooLarge)
	if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
		t.Errorf("%d bytes allocated", n)
	}
}
