package embedded

import (
	"reflect"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func TestXMPInEveryForm(t *testing.T) {
	for name, c := range map[string]struct {
		packet string
		want   block
	}{
		"attributes":                     {`<rdf:Description xmp:Rating="3" dc:title="A &amp; B"/>`, block{title: "A & B", rating: 3}},
		"elements":                       {`<rdf:Description><dc:title> A </dc:title></rdf:Description>`, block{title: "A"}},
		"CDATA":                          {`<rdf:Description><dc:title><![CDATA[<A>]]></dc:title></rdf:Description>`, block{title: "<A>"}},
		"languages":                      {`<rdf:Description><dc:title><rdf:Alt><rdf:li xml:lang="de">B</rdf:li><rdf:li xml:lang="x-default">A</rdf:li></rdf:Alt></dc:title></rdf:Description>`, block{title: "A"}},
		"no default language":            {`<rdf:Description><dc:title><rdf:Alt><rdf:li xml:lang="de">B</rdf:li><rdf:li xml:lang="en">A</rdf:li></rdf:Alt></dc:title></rdf:Description>`, block{title: "B"}},
		"two descriptions":               {`<rdf:Description dc:title="A"/><rdf:Description><dc:subject><rdf:Bag><rdf:li>x</rdf:li><rdf:li>y</rdf:li></rdf:Bag></dc:subject></rdf:Description>`, block{title: "A", keywords: []string{"x", "y"}}},
		"same name in another namespace": {`<rdf:Description xmlns:o="other:"><o:title>B</o:title><dc:title>A</dc:title></rdf:Description>`, block{title: "A"}},
		"a title in a structure":         {`<rdf:Description xmlns:o="other:"><o:s rdf:parseType="Resource"><dc:title>B</dc:title></o:s></rdf:Description>`, block{}},
		"the default language alone":     {`<rdf:Description dc:rights="x-default"><dc:title><rdf:Alt><rdf:li xml:lang="x-default">x-default</rdf:li></rdf:Alt></dc:title></rdf:Description>`, block{}},
		"half a star":                    {`<rdf:Description xmp:Rating="3.5"/>`, block{rating: 4}},
		"a comment":                      {`<rdf:Description><exif:UserComment><rdf:Alt><rdf:li xml:lang="x-default">Screenshot</rdf:li></rdf:Alt></exif:UserComment></rdf:Description>`, block{comment: "Screenshot"}},
		"our other properties":           {`<rdf:Description xmlns:i="https://github.com/imagebatch/imagebatch/ns/1.0/" i:Format="jpeg" i:Width="3"/>`, block{}},
	} {
		t.Run(name, func(t *testing.T) {
			var w record.Warnings
			got, _ := fromXMP(packetOf([]byte(fixture.XMPStart+c.packet+fixture.XMPEnd+"  \x00\x00")), &w)
			if !reflect.DeepEqual(got, c.want) || w.List != nil {
				t.Errorf("got %+v, want %+v, warnings %q", got, c.want, w.List)
			}
		})
	}
}

// TestXMPOfUntrustedClients verifies that unreadable parts cause a warning, that the cost is proportional to
// the length, and that the values before them are kept.
func TestXMPOfUntrustedClients(t *testing.T) {
	const good = `<rdf:Description dc:title="A"/>`
	for name, c := range map[string]struct{ packet, title string }{
		"a DOCTYPE":           {`<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]>` + fixture.XMPStart + good + fixture.XMPEnd, ""},
		"an unknown entity":   {fixture.XMPStart + good + `<rdf:Description><dc:rights>&secret;</dc:rights></rdf:Description>` + fixture.XMPEnd, "A"},
		"another encoding":    {`<?xml version="1.0" encoding="UTF-16"?>` + fixture.XMPStart + good + fixture.XMPEnd, ""},
		"no XML":              {"\xff\xfe<", ""},
		"cut short":           {fixture.XMPStart + good + `<rdf:Descr`, "A"},
		"never closed":        {fixture.XMPStart + good + strings.Repeat("<a>", 5000), "A"},
		"a packet of 2 MiB":   {fixture.XMPStart + good + strings.Repeat(" ", 2<<20) + fixture.XMPEnd, ""},
		"a rating of words":   {fixture.XMPStart + `<rdf:Description dc:title="A" xmp:Rating="good"/>` + fixture.XMPEnd, "A"},
		"an invalid time":     {fixture.XMPStart + `<rdf:Description dc:title="A" exif:DateTimeOriginal="2019-07-14T09:71:11"/>` + fixture.XMPEnd, "A"},
		"an impossible place": {fixture.XMPStart + `<rdf:Description dc:title="A" exif:GPSLatitude="91,0N" exif:GPSLongitude="1,0E"/>` + fixture.XMPEnd, "A"},
	} {
		t.Run(name, func(t *testing.T) {
			var w record.Warnings
			got, _ := fromXMP(packetOf([]byte(c.packet)), &w)
			if got.title != c.title || len(w.List) != 1 || got.exif.GPS != nil || got.rating != 0 {
				t.Errorf("title %q, want %q; warnings %q", got.title, c.title, w.List)
			}
		})
	}
	many := fixture.XMPStart + "<rdf:Description><dc:subject><rdf:Bag>" + strings.Repeat("<rdf:li>x</rdf:li>", 300) + "</rdf:Bag></dc:subject><dc:title>A</dc:title><dc:description>" +
		strings.Repeat("é", 5000) + "</dc:description></rdf:Description><rdf:Description dc:rights='" + strings.Repeat("R", 9000) + "'/>" + fixture.XMPEnd
	if got, _ := fromXMP(packetOf([]byte(many)), &record.Warnings{}); got.title != "A" || !strings.HasPrefix(got.description, "éé") || !strings.HasPrefix(got.copyright, "RR") {
		t.Errorf("after many keywords: title %q, description %.20q, copyright %.20q", got.title, got.description, got.copyright)
	}
	var w record.Warnings
	many = fixture.XMPStart + "<rdf:Description><dc:subject><rdf:Bag>" + strings.Repeat("<rdf:li>x</rdf:li>", 10_000) + "</rdf:Bag></dc:subject></rdf:Description>" + fixture.XMPEnd
	if got, _ := fromXMP(packetOf([]byte(many)), &w); len(got.keywords) != 256 {
		t.Errorf("%d keywords are kept", len(got.keywords))
	}
}

func TestXMPTimesAndPlaces(t *testing.T) {
	for s, want := range map[string]string{
		"2024-05-29T17:19:21+02:00": "2024-05-29T17:19:21+02:00", "2024-05-29T17:19:21.25Z": "2024-05-29T17:19:21Z",
		"2024-05-29T17:19": "2024-05-29T17:19:00", "2024-05-29T17:19-03:30": "2024-05-29T17:19:00-03:30", "2024-05": "", "2024-13-01T00:00:00": "", "": "",
		"2024:05:29 17:19:21": "2024-05-29T17:19:21", "2024:05:29 17:19:21-0700": "2024-05-29T17:19:21-07:00", "2024-05-29T17:19:21-0700": "2024-05-29T17:19:21-07:00",
		"2024-05-29T17:19:21+02": "2024-05-29T17:19:21+02:00", "2024-05-29 17:19:21 UTC": "2024-05-29T17:19:21Z", "20240529T171921Z": "2024-05-29T17:19:21Z",
		"2024/05/29 17:19:21": "2024-05-29T17:19:21", "2024:05:29T17:19:21.123": "2024-05-29T17:19:21", "2024: 5: 9  7: 9: 1": "",
		"2024: 5: 9  7:09: 1": "2024-05-09T07:09:01", "2024:05:29 17:19:21 UTC+5:30": "2024-05-29T17:19:21+05:30", "2024-02-30T00:00:00": "",
		"2024-05-29T17:19:21+99:00": "", "2024-05-29T17:19:21 soon": "", "2024:05:29 25:00:00": "", "2024-05-29": "", "0000:00:00 00:00:00": "",
	} {
		if got := isoTime(s); got != want {
			t.Errorf("%q is %q, want %q", s, got, want)
		}
	}
	for s, want := range map[string]float64{
		"51,30.5N": 51.508333333333, "33,51,36S": -33.86, "0,0N": 0, "90,0N": 90,
		"51.5": 51.5, "-51.5": -51.5, "+51.5": 51.5, "51.5S": -51.5, "-51.5 S": -51.5, "51,30.5n": 51.508333333333, "S 51.5": -51.5,
		"51/1,30/1,3600/100N": 51.51, `51 deg 30' 36.00" S`: -51.51, "51°30′36″N": 51.51, "51:30:36N": 51.51,
	} {
		if got, ok := xmpCoordinate(s, "", "N", "S", 90); !ok || record.Round(got, 9) != record.Round(want, 9) {
			t.Errorf("%q is %v, %v", s, got, ok)
		}
	}
	for _, s := range []string{"", "N", "91,0N", "51,60N", "51,-3N", "NaN,0N", "1,2,3,4N", "51.5.5", "--51.5", "51/0N", "-91", "north", "1e999N", "51,30.5E"} {
		if got, ok := xmpCoordinate(s, "", "N", "S", 90); ok {
			t.Errorf("%q is %v", s, got)
		}
	}
}

// TestXMPPlaces reads a place from each form of its properties.
func TestXMPPlaces(t *testing.T) {
	for properties, want := range map[string]*pipeline.GPS{
		`exif:GPSLatitude="51,30.5N" exif:GPSLongitude="13,52.28E"`:                                             {Latitude: 51.508333, Longitude: 13.871333},
		`exif:GPSLatitude="-33.86" exif:GPSLongitude="151.211111"`:                                              {Latitude: -33.86, Longitude: 151.211111},
		`exif:GPSLatitude="33.86" exif:GPSLatitudeRef="S" exif:GPSLongitude="70.5" exif:GPSLongitudeRef="West"`: {Latitude: -33.86, Longitude: -70.5},
		`exif:GPSLatitude="-33.86" exif:GPSLatitudeRef="S" exif:GPSLongitude="70.5" exif:GPSLongitudeRef="E"`:   {Latitude: -33.86, Longitude: 70.5},
		`exif:DateTimeOriginal="0000-00-00T00:00:00"`:                                                           nil,
		`exif:GPSLatitude="0,0N" exif:GPSLongitude="0,0E"`:                                                      nil,
		`exif:GPSLatitude="0,0N" exif:GPSLongitude="13,52.28E"`:                                                 {Longitude: 13.871333},
		`exif:GPSStatus="V" exif:GPSLatitude="51,30.5N" exif:GPSLongitude="13,52.28E"`:                          nil,
		`exif:GPSStatus="A" exif:GPSLatitude="51,30.5N" exif:GPSLongitude="13,52.28E"`:                          {Latitude: 51.508333, Longitude: 13.871333},
	} {
		var w record.Warnings
		got, _ := fromXMP(packetOf([]byte(fixture.XMPStart+"<rdf:Description "+properties+"/>"+fixture.XMPEnd)), &w)
		if !reflect.DeepEqual(got.exif.GPS, want) || w.List != nil {
			t.Errorf("%s: %+v, want %+v; warnings %q", properties, got.exif.GPS, want, w.List)
		}
	}
}
