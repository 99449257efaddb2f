package imagetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

const (
	rdfOpen = `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">` +
		`<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">`
	rdfClose = `</rdf:Description></rdf:RDF></x:xmpmeta>`
)

// xmpBombs are valid images with XMP that costs its reader more than its size. Metadata never fails an image.
func xmpBombs() []Bomb {
	var laughs strings.Builder
	laughs.WriteString(`<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "ha">`)
	for i := 1; i < 30; i++ {
		fmt.Fprintf(&laughs, `<!ENTITY l%d "%s">`, i, strings.Repeat(fmt.Sprintf("&l%d;", i-1), 10))
	}
	laughs.WriteString(`<!ENTITY file SYSTEM "file:///etc/passwd">]>` + rdfOpen + `<dc:title>&l29;&file;</dc:title>` + rdfClose)

	nested := func(n int, open, closing string) string {
		return rdfOpen + strings.Repeat(open, n) + strings.Repeat(closing, n) + rdfClose
	}
	attributes := func(n int) string {
		b := []byte(strings.TrimSuffix(rdfOpen, ">"))
		for i := range n {
			b = strconv.AppendInt(append(b, " dc:a"...), int64(i), 10)
			b = append(strconv.AppendInt(append(b, `="`...), int64(i), 10), '"')
		}
		return string(b) + ">" + rdfClose
	}
	items := func(n int) string {
		return rdfOpen + `<dc:subject><rdf:Bag>` + strings.Repeat(`<rdf:li>word</rdf:li>`, n) + `</rdf:Bag></dc:subject>` + rdfClose
	}
	packets := []struct {
		name     string
		jpg, png string // at most 64 kB and 10 MB
	}{
		{"of a billion laughs", laughs.String(), laughs.String()},
		{"nested deep", nested(8_000, "<a>", "</a>"), nested(1_000_000, "<a>", "</a>")},
		{"nested deep in lists", nested(1_500, "<rdf:Bag><rdf:li>", "</rdf:li></rdf:Bag>"), nested(200_000, "<rdf:Bag><rdf:li>", "</rdf:li></rdf:Bag>")},
		{"never closed", strings.Repeat("<a>", 20_000), strings.Repeat("<a>", 2_000_000)},
		{"of one open tag", "<" + strings.Repeat("a", 60_000), "<" + strings.Repeat("a", 8_000_000)},
		{"of many attributes", attributes(3_000), attributes(300_000)},
		{"of many items", items(2_500), items(300_000)},
		{"of many namespaces", nested(1_000, `<a xmlns:b="c" xmlns:d="e">`, "</a>"), nested(100_000, `<a xmlns:b="c" xmlns:d="e">`, "</a>")},
		{"of many comments", strings.Repeat("<!---->", 9_000), strings.Repeat("<!---->", 1_000_000)},
		{"of many ampersands", rdfOpen + "<dc:title>" + strings.Repeat("&amp;", 12_000) + "</dc:title>" + rdfClose, rdfOpen + "<dc:title>" + strings.Repeat("&amp;", 1_000_000) + "</dc:title>" + rdfClose},
		{"of zeros", string(zeros(60_000)), string(zeros(8_000_000))},
	}
	jpg, png := JPEG(64, 48), PNG(64, 48)
	app1 := func(packet string) []byte {
		return segment(markerAPP1, append([]byte("http://ns.adobe.com/xap/1.0/\x00"), packet...))
	}
	var bombs []Bomb
	for _, p := range packets {
		bombs = append(
			bombs,
			Bomb{Name: "XMP " + p.name + ".jpg", Data: inJPEG(jpg, app1(p.jpg))},
			Bomb{Name: "XMP " + p.name + ".png", Data: inPNG(png, chunk("iTXt", append([]byte("XML:com.adobe.xmp\x00\x00\x00\x00\x00"), p.png...)))},
		)
	}
	const extended = "http://ns.adobe.com/xmp/extension/\x00" + "0123456789ABCDEF0123456789ABCDEF" + "\xff\xff\xff\xff" + "\xff\xff\xff\xf0"
	return append(
		bombs,
		Bomb{Name: "XMP extended to 4 GB.jpg", Data: inJPEG(jpg, app1(rdfOpen+rdfClose), bytes.Repeat(segment(markerAPP1, append([]byte(extended), zeros(1000)...)), 1000))},
		Bomb{Name: "XMP 150 packets.jpg", Data: inJPEG(jpg, bytes.Repeat(app1(items(2_500)), 150))},
	)
}

// iccBombs are valid images with a color profile that contains impossible numbers.
func iccBombs() []Bomb {
	profile := append(zeros(128), 0xff, 0xff, 0xff, 0xff) // number of tags
	copy(profile, "\xff\xff\xff\xff")                     // length of the profile
	copy(profile[36:], "acsp")
	for _, kind := range [...]string{"desc", "cprt", "wtpt"} {
		profile = append(profile, kind...)
		profile = append(profile, "\xff\xff\xff\xf0\xff\xff\xff\xff"...)
	}
	// A description in many languages, each of them a gigabyte at the same offset.
	names := append(zeros(128), 0, 0, 0, 1)
	copy(names[36:], "acsp")
	names = append(names, "desc\x00\x00\x00\x90\x00\x00\xf0\x00mluc\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x0c"...)
	names = append(names, bytes.Repeat([]byte("enUS\x3f\xff\xff\xff\x00\x00\x00\x10"), 5000)...)

	app2 := func(number, of byte, part []byte) []byte {
		return segment(markerAPP2, append([]byte("ICC_PROFILE\x00"+string([]byte{number, of})), part...))
	}
	var pieces []byte
	for i := range 150 {
		pieces = append(pieces, app2(byte(i+1), 150, zeros(65_000))...)
	}
	iccp := func(profile []byte) []byte {
		return chunk("iCCP", append([]byte("ICC\x00\x00"), deflate(profile)...))
	}
	jpg, png := JPEG(64, 48), PNG(64, 48)
	return []Bomb{
		{Name: "ICC of 4 GB.jpg", Data: inJPEG(jpg, app2(1, 1, profile))},
		{Name: "ICC of 4 GB.png", Data: inPNG(png, iccp(profile))},
		{Name: "ICC of many names.jpg", Data: inJPEG(jpg, app2(1, 1, names))},
		{Name: "ICC of many names.png", Data: inPNG(png, iccp(names))},
		{Name: "ICC of 150 pieces.jpg", Data: inJPEG(jpg, pieces)},
		{Name: "ICC numbered 255 of 0.jpg", Data: inJPEG(jpg, bytes.Repeat(app2(255, 0, profile), 1000))},
	}
}

// zip returns an archive of one empty file, preceded by other bytes. Readers skip those: they look for the
// directory at the end of the file.
func zip(before []byte) []byte {
	le := binary.LittleEndian
	local := append([]byte("PK\x03\x04"), zeros(26)...)
	local[26] = 1
	local = append(local, 'a')
	central := append([]byte("PK\x01\x02"), zeros(42)...)
	central[28] = 1
	le.PutUint32(central[42:], uint32(len(before)))
	central = append(central, 'a')
	end := append([]byte("PK\x05\x06"), zeros(18)...)
	end[8], end[10] = 1, 1
	le.PutUint32(end[12:], uint32(len(central)))
	le.PutUint32(end[16:], uint32(len(before)+len(local)))
	return bytes.Join([][]byte{before, local, central, end}, nil)
}

// polyglots are images that are also another file type.
func polyglots() []Bomb {
	const page = `<html><script>alert(1)</script></html>`
	const pdf = "%PDF-1.7\n1 0 obj<<>>endobj\n%%EOF\n"
	jpg, png := JPEG(64, 48), PNG(64, 48)
	with := func(picture []byte, more string) []byte { return append(bytes.Clone(picture), more...) }
	comment := func(text string) []byte { return inJPEG(jpg, segment(markerCOM, []byte(text))) }
	text := func(value string) []byte { return inPNG(png, chunk("tEXt", []byte("Comment\x00"+value))) }
	// The archive is in a comment of the image, and the rest of the image is a comment of the archive, whose
	// length is its last field.
	start, rest := jpg[:2], jpg[2:]
	inComment := zip(append(bytes.Clone(start), 0xff, markerCOM, 0, 0))
	binary.BigEndian.PutUint16(inComment[4:], uint16(len(inComment)-4))
	binary.LittleEndian.PutUint16(inComment[len(inComment)-2:], uint16(len(rest)))
	inComment = append(inComment, rest...)
	return []Bomb{
		{Name: "polyglot JPEG and page.jpg", Data: with(jpg, page), Want: pipeline.CodeNotAnImage},
		{Name: "polyglot JPEG and PHP.jpg", Data: with(jpg, "<?php system($_GET['c']); ?>"), Want: pipeline.CodeNotAnImage},
		{Name: "polyglot JPEG and SVG.jpg", Data: with(jpg, "<svg><script>alert(1)</script></svg>"), Want: pipeline.CodeNotAnImage},
		{Name: "polyglot JPEG and PDF.jpg", Data: with(jpg, pdf), Want: pipeline.CodeNotAnImage},
		{Name: "polyglot JPEG and ZIP.jpg", Data: zip(jpg), Want: pipeline.CodeNotAnImage},
		{Name: "polyglot JPEG, a gap and ZIP.jpg", Data: zip(with(jpg, "a gap")), Want: pipeline.CodeNotAnImage},
		{Name: "polyglot JPEG with a ZIP in a comment.jpg", Data: inComment, Want: pipeline.CodeNotAnImage},
		{Name: "polyglot JPEG with a PDF in a comment.jpg", Data: comment(pdf), Want: pipeline.CodeNotAnImage},
		{Name: "polyglot JPEG and GIF.jpg", Data: with(jpg, "GIF89a"), Want: pipeline.CodeNotAnImage},
		{Name: "polyglot PNG and ZIP.png", Data: zip(png), Want: pipeline.CodeNotAnImage},
		{Name: "polyglot PNG, a gap and ZIP.png", Data: zip(with(png, "a gap")), Want: pipeline.CodeNotAnImage},
		{Name: "polyglot PNG and page.png", Data: with(png, page), Want: pipeline.CodeNotAnImage},
		{Name: "polyglot PNG with a PDF in a text.png", Data: text(pdf), Want: pipeline.CodeNotAnImage},
		// These are only images: a browser that gets the type, and the instruction not to sniff, shows an
		// image.
		{Name: "polyglot JPEG with a page in a comment.jpg", Data: comment(page)},
		{Name: "polyglot PNG with a page in a text.png", Data: text(page)},
		{Name: "polyglot PNG with a JPEG in a chunk.png", Data: inPNG(png, chunk("jpEg", jpg))},
		{Name: "polyglot PNG and JPEG.png", Data: append(bytes.Clone(png), jpg...)},
		{Name: "polyglot JPEG and JPEG.jpg", Data: append(bytes.Clone(jpg), jpg...)},
		{Name: "polyglot JPEG and 4 MB of zeros.jpg", Data: append(bytes.Clone(jpg), zeros(4<<20)...)},
	}
}

func deflate(data []byte) []byte {
	var b bytes.Buffer
	z := zlibWriter(&b)
	write(z, data)
	if err := z.Close(); err != nil {
		panic(fmt.Sprintf("compress in memory: %v", err))
	}
	return b.Bytes()
}
