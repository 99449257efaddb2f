package stocktext

import (
	"strings"
	"testing"
)

func TestIs(t *testing.T) {
	for _, stock := range []string{
		"OLYMPUS DIGITAL CAMERA", "OLYMPUS DIGITAL CAMERA         ", "SAMSUNG", "SAMSUNG CAMERA PICTURES", "SAMSUNG DIGITAL CAMERA",
		"<Digimax i5, Samsung #1>", "<KENOX S1050 / Samsung S1050>", "SONY DSC", "Minolta DSC", "MINOLTA DIGITAL CAMERA",
		"KONICA MINOLTA DIGITAL CAMERA", "KODAK Digital Still Camera", "MEDION DIGITAL CAMERA", "MOULTRIE DIGITAL GAME CAMERA", "Digital Camera",
		"HELLOMOTO", "My beautiful picture", "Scanner", "DVC 10.1 HDMI", "Exif_JPEG_PICTURE", "Exif JPEG", "charset=Ascii", "binary comment",
		"default", "Default description", "Created by Imlib", "Created with GIMP", "Created with GIMP on a Mac", "created with The GIMP", "Created with Paint.NET v3.5.10",
		"File written by Adobe Photoshop® 4.0", "CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 90", "Picasa", "iClarified", "AppleMark",
		`DCIM\100MEDIA\DJI_0001.JPG`, "DCIM/101GOPRO/GOPR0042.JPG", `C:\DCIM\100GOPRO\G0012345.JPG`, `c:\my pictures\a.jpg`,
		"rhdr", "hdrpl", "oznorWO", "oznorCO", "frontbhdp", "fbt", "rbt", "ptr", "fbthdr", "btr", "mon", "nor", "dav", "mde", "mde_soft", "edf",
		"btfmdn", "btf", "btfhdr", "frem", "oznor", "rpt", "burst", "sdr_HDRB", "cof", "qrf", "fshbty", "hdr", "_cuva", "smart", "bsh", "sdr",
		"Acme", "X1", "ACME x1", "string with binary data", "cof\x00\x00", "x-default", "0.9.142", "v01.02.0345", "10.00.02.14",
	} {
		if !Is(stock, "Acme", "X1") {
			t.Errorf("%q counts as a person's", stock)
		}
	}
	for _, own := range []string{
		"", "A boat", "Mon", "Smart", "Nor", "Hdr tour", "nord", "monument", "Samsung's headquarters", "My first digital camera", "At the Olympus",
		"Created by Anna Example", "Created with love", "Created with GIMP from two photos that I took of the harbour at night", "Sony Center, Berlin",
		"DCIM", "<3", "Harbour <east>", "Default street", "Picasa museum", "Acme X1 in the snow", "cat", "sea", "12.5", "Version 1.2.3 of my garden", "1.2.3.4.5", "12.08.20191",
		strings.Repeat("x", 300), "SONY DSC" + strings.Repeat(" ", 300) + "and a boat",
	} {
		if Is(own, "Acme", "X1") {
			t.Errorf("%q counts as stock", own)
		}
	}
	if Is("Acme") || Is("Acme", "") {
		t.Error("a text of a person is the name of an unknown camera")
	}
}
