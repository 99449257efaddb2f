// Package stocktext recognizes the texts that cameras and programs write into a title or a description, where a
// person would describe the image: the name of the maker, the mode of the camera, a path, or the name of the
// program.
package stocktext

import (
	"regexp"
	"strings"
)

// maxStock is the length of the longest stock text, in bytes.
const maxStock = 200

// whole lists complete texts in lower case, in the order of their origin.
var whole = set(
	// Makers of cameras.
	"hellomoto", "kodak", "kodak easyshare", "konica", "konica minolta", "minolta", "olympus", "pentax", "samsung", "sony",
	"samsung camera pictures", "my beautiful picture", "my beautiful pict@ure", "dvc 10.1 hdmi", "dcf 1.0",
	// Modes that are more than a code.
	"binary comment", "user comments", "charset=ascii", `charset="ascii"`, "ascii", "exif", "exif jpeg", "exif_jpeg_picture",
	"exif_jpeg_t422", "exif picture", "jpeg", "jpg", "jpeg_picture", "jpeg picture", "default", "default description", "image description",
	"digital image", "digital still image", "image", "untitled", "no title", "screenshot", "scanner", "scanned image", "applemark",
	// Programs.
	"picasa", "iclarified", "shotwell", "snapseed", "adobe photoshop", "gimp",
	// The name of the default language, which GIMP 2.8 writes in place of a description.
	"x-default",
)

// codes lists the modes that phones of Huawei and Honor write, and those of phones with their software. They are
// words in some languages, so their case matters.
var codes = func() *regexp.Regexp {
	parts := strings.Join([]string{
		"oznor", "nor", "cof", "dav", "edf", "edh", "sdr", "sdhr", "hdr", "rhdr", "hdrpl", "rpt", "mon", "mde", "qrf", "rbt", "fbt", "btf",
		"btr", "ptr", "ptf", "pbt", "pbf", "bsh", "fsh", "bty", "fshbty", "frem", "mdn", "frontbhdp", "tpl", "ntf", "cuva", "soft", "HDRB",
	}, "|")
	return regexp.MustCompile(`^_?(?:` + parts + `)(?:_?(?:` + parts + `))*_?(?:WO|CO)?$|^(?:smart|burst)$`)
}()

// patterns are forms of texts, in lower case.
var patterns = []*regexp.Regexp{
	// "OLYMPUS DIGITAL CAMERA", "KODAK Digital Still Camera", "<SAMSUNG DIGITAL CAMERA>"
	regexp.MustCompile(`^<?(?:` + makers + `)?[ _-]*digital (?:still |video |game )?camera>?$`),
	// "SONY DSC", "KONICA MINOLTA DSC"
	regexp.MustCompile(`^(?:` + makers + `) dsc[0-9]*$`),
	// "<Digimax i5, Samsung #1>", "<KENOX S1050 / Samsung S1050>"
	regexp.MustCompile(`^<[^<>]*(?:digimax|kenox|samsung|pentax|polaroid)[^<>]*>$`),
	// "DCIM\100MEDIA\DJI_0001.JPG", which drones and action cameras write
	regexp.MustCompile(`^(?:[a-z]:)?[\\/]?dcim[\\/]\S*$`),
	regexp.MustCompile(`^[a-z]:\\.*\.(?:jpe?g|png|tiff?|bmp|gif|dng|heic)$`),
	// "0.9.142", "v01.02.0345": the version of the software, which drones write
	regexp.MustCompile(`^v?[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}(?:\.[0-9]{1,4})?$`),
	// "Created by Imlib", "Created with GIMP on a Mac", "File written by Adobe Photoshop® 4.0"
	regexp.MustCompile(`^(?:image |file |picture )?(?:created|made|generated|written|produced|processed|edited|optimized|compressed) (?:by|with|using|in):? (?:the )?(?:` + programs + `)[^\pL]*(?:\PL*\pL+){0,4}\PL*$`),
	// "CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 90", "LEAD Technologies Inc. V1.01"
	regexp.MustCompile(`^(?:creator: gd-jpeg|lead technologies inc|handmade software, inc|accusoft |intel\(r\) jpeg library|binary data|\(binary data|string with binary data)`),
}

// makers and programs are parts of patterns.
const (
	makers = `(?:acer|agfa(?:photo)?|aiptek|benq|canon|casio|concord|epson|fuji(?:film)?|ge|hp|hewlett[- ]packard|jvc|kodak|konica(?:[ /]minolta)?|kyocera|` +
		`leica|lumix|medion|minolta|moultrie|mustek|nikon|nytech|olympus|panasonic|pentax|polaroid|praktica|premier|ricoh|rollei|samsung|sanyo|sony|toshiba|` +
		`traveler|vivitar|yakumo)`
	programs = `imlib[0-9]*|gimp|imagemagick|graphicsmagick|gd|inkscape|krita|sketch|paint(?:\.net|shop)?|ms paint|microsoft|adobe|photoshop|lightroom|picasa|acdsee|` +
		`irfanview|xnview|dcraw|ufraw|rawtherapee|darktable|digikam|shotwell|fotor|canva|snapseed|hugin|matlab|matplotlib|gnuplot|octave|ffmpeg|vlc|` +
		`accusoft|lead|ulead|corel|snagit|greenshot|jpegmini|jpegoptim|helicon|photoscape|pixlr|polarr|vsco|instagram|blender|povray|camera|canon|nikon|olympus`
)

// Is reports whether a text is a stock text. camera are the names of the camera that took the image: many
// cameras write their own.
func Is(text string, camera ...string) bool {
	text = strings.Trim(text, " \t\r\n\x00")
	if text == "" || len(text) > maxStock {
		return false
	}
	text = strings.Join(strings.Fields(text), " ")
	folded := strings.ToLower(text)
	if whole[folded] || codes.MatchString(text) {
		return true
	}
	for _, name := range camera {
		if name != "" && folded == strings.ToLower(name) {
			return true
		}
	}
	if len(camera) > 1 && folded == strings.ToLower(strings.Join(camera, " ")) {
		return true
	}
	for _, p := range patterns {
		if p.MatchString(folded) {
			return true
		}
	}
	return false
}

func set(texts ...string) map[string]bool {
	s := make(map[string]bool, len(texts))
	for _, t := range texts {
		s[t] = true
	}
	return s
}
