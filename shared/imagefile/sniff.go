package imagefile

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// magic is the first bytes of the files of a format.
type magic struct {
	prefix string
	name   string
}

// otherImages are unsupported image formats. They are named in the error, so that clients learn what they sent.
var otherImages = [...]magic{
	{"GIF87a", "GIF"},
	{"GIF89a", "GIF"},
	{"II*\x00", "TIFF"},
	{"MM\x00*", "TIFF"},
	{"II+\x00", "BigTIFF"},
	{"MM\x00+", "BigTIFF"},
	{"\x00\x00\x01\x00", "ICO"},
	{"\x00\x00\x02\x00", "CUR"},
	{"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"},
	{"\xff\x4f\xff\x51", "JPEG 2000"},
	{"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"},
	{"\xff\x0a", "JPEG XL"},
	{"II\xbc\x01", "JPEG XR"},
	{"8BPS", "Photoshop"},
	{"\x8aMNG\r\n\x1a\n", "MNG"},
	{"\x8bJNG\r\n\x1a\n", "JNG"},
	{"qoif", "QOI"},
	{"DDS ", "DDS"},
	{"\x76\x2f\x31\x01", "OpenEXR"},
	{"#?RADIANCE", "Radiance HDR"},
	{"FUJIFILMCCD-RAW", "Fuji RAW"},
}

// otherFiles are formats that can be appended to an image to make a polyglot file.
var otherFiles = [...]magic{
	{"PK\x03\x04", "an archive"},
	{"Rar!\x1a\x07", "an archive"},
	{"7z\xbc\xaf\x27\x1c", "an archive"},
	{"%PDF-", "a PDF document"},
	{"MZ\x90\x00", "a program"},
	{"\x7fELF", "a program"},
	{"GIF87a", "another image"},
	{"GIF89a", "another image"},
}

// refuse returns the reason why data, which starts neither as a JPEG nor as a PNG, is rejected.
func refuse(data []byte) error {
	switch {
	case len(data) < len(jpegMagic) && len(data) > 1 && strings.HasPrefix(jpegMagic, string(data)):
		return damagedJPEG("ends before its end-of-image marker")
	case len(data) < len(pngMagic) && len(data) > 1 && strings.HasPrefix(pngMagic, string(data)):
		return damagedPNG("ends inside its signature")
	}
	for _, m := range otherImages {
		if bytes.HasPrefix(data, []byte(m.prefix)) {
			return unsupportedFormat(m.name)
		}
	}
	if len(data) >= 12 {
		if string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP" {
			return unsupportedFormat("WebP")
		}
		if string(data[4:8]) == "ftyp" {
			if name := isoBrand(string(data[8:12])); name != "" {
				return unsupportedFormat(name)
			}
			return notAnImage("")
		}
	}
	// BMP's magic number is two letters of ordinary text, so the reserved fields and the size of the second
	// header must match too.
	if len(data) >= 18 && data[0] == 'B' && data[1] == 'M' &&
		string(data[6:10]) == "\x00\x00\x00\x00" && string(data[15:18]) == "\x00\x00\x00" {
		return unsupportedFormat("BMP")
	}
	if name, isImage := markup(data); isImage {
		return unsupportedFormat(name)
	}
	return notAnImage("")
}

// isoBrand names the image formats that share the container of MP4, by their major brand. It returns "" for a
// video.
func isoBrand(brand string) string {
	switch brand {
	case "heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1":
		return "HEIC"
	case "avif", "avis":
		return "AVIF"
	case "crx ":
		return "Canon RAW"
	}
	return ""
}

// markup examines the first kilobyte of data that may be markup. It names SVG, the only such format that is an
// image, and "web page" for others. A web page may contain an SVG, so the root element decides.
func markup(data []byte) (name string, isImage bool) {
	head := data[:min(len(data), 1024)]
	head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	head = bytes.ToLower(bytes.TrimLeft(head, " \t\r\n\x00"))
	if len(head) == 0 || head[0] != '<' {
		return "", false
	}
	svg := bytes.Index(head, []byte("<svg"))
	page := -1
	for _, tag := range [...]string{"<!doctype html", "<html", "<head", "<body", "<script", "<?php"} {
		if i := bytes.Index(head, []byte(tag)); i >= 0 && (page < 0 || i < page) {
			page = i
		}
	}
	switch {
	case svg >= 0 && (page < 0 || svg < page):
		return "SVG", true
	case page >= 0:
		return "web page", false
	}
	return "", false
}

// checkNature rejects an image that is also another file type. Other bytes after its end are allowed: motion
// photos, gain maps, the trailers of camera makers.
func checkNature(data, trailing []byte) error {
	if err := checkAppended(trailing); err != nil {
		return err
	}
	if isArchive(data) {
		return twoNatures("it can be opened as an archive too")
	}
	// PDF readers look for the header in the first kilobyte (ISO 32000-1, Annex H, note 13).
	if bytes.Contains(data[:min(len(data), 1024)], []byte("%PDF-")) {
		return twoNatures("it can be opened as a PDF document too")
	}
	return nil
}

// checkAppended rejects another file at the start of the bytes after an image.
func checkAppended(b []byte) error {
	for _, m := range otherFiles {
		if bytes.HasPrefix(b, []byte(m.prefix)) {
			return twoNatures(m.name + " follows the picture")
		}
	}
	if name, isImage := markup(b); isImage {
		return twoNatures("another image follows the picture")
	} else if name != "" {
		return twoNatures("a " + name + " follows the picture")
	}
	return nil
}

// tags start a page or an image in markup.
var tags = [...]string{"<svg", "<html", "<head", "<body", "<script", "<!doctype html", "<?php"}

// checkHidden rejects an image with another file somewhere in data: its pixels, and whatever follows them in
// place of an end marker. Signatures of four bytes occur in pixels by chance.
func checkHidden(data []byte) error {
	for _, m := range otherFiles {
		if len(m.prefix) > 4 && bytes.Contains(data, []byte(m.prefix)) {
			return twoNatures(m.name + " follows the picture")
		}
	}
	for {
		i := bytes.IndexByte(data, '<')
		if i < 0 {
			return nil
		}
		data = data[i:]
		for _, tag := range tags {
			if len(data) >= len(tag) && data[1]|0x20 == tag[1]|0x20 && data[2]|0x20 == tag[2] && strings.EqualFold(string(data[:len(tag)]), tag) {
				return twoNatures("markup follows the picture")
			}
		}
		data = data[1:]
	}
}

// isArchive reports whether ZIP readers would accept the file, whatever its first bytes are: they search
// backwards from its end for a record that counts the bytes up to there (APPNOTE 4.3.16).
func isArchive(data []byte) bool {
	const record = 22 // bytes, plus a comment of at most 64 KiB
	tail := data[max(0, len(data)-record-math.MaxUint16):]
	for {
		i := bytes.Index(tail, []byte("PK\x05\x06"))
		if i < 0 || len(tail)-i < record {
			return false
		}
		tail = tail[i:]
		if int(binary.LittleEndian.Uint16(tail[record-2:])) == len(tail)-record {
			return true
		}
		tail = tail[1:]
	}
}

func twoNatures(reason string) error {
	return &pipeline.Failure{Code: pipeline.CodeNotAnImage, Text: "Not only an image: " + reason}
}
