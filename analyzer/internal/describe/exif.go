package describe

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/bep/imagemeta"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// readExif reads what the camera wrote from the TIFF structure of an EXIF block;
// nil when there is nothing. What is wrong with one tag costs that tag and adds a
// warning.
func readExif(tiff []byte, warned *warnings) *pipeline.Exif {
	if len(tiff) == 0 {
		return nil
	}
	sound := soundTIFF(tiff, warned)
	if sound == nil {
		return nil
	}
	tags := readTags(sound, warned)
	e := pipeline.Exif{
		CameraMake:   tags.text(dirImage, "Make"),
		CameraModel:  tags.text(dirImage, "Model"),
		LensModel:    tags.text(dirExif, "LensModel"),
		TakenAt:      tags.takenAt(warned),
		ExposureTime: tags.exposureTime(warned),
		FNumber:      tags.positive(dirExif, "FNumber", 1000, warned),
		ISO:          tags.iso(),
		FocalLength:  tags.positive(dirExif, "FocalLength", 100_000, warned),
		GPS:          tags.gps(warned),
	}
	if e == (pipeline.Exif{}) {
		return nil
	}
	return &e
}

// The directories of an EXIF block, by the names that imagemeta gives them.
const (
	dirImage = "IFD0"
	dirExif  = "IFD0/ExifIFDP"
	dirGPS   = "IFD0/GPSInfoIFD"
)

// tagValues holds the values of the tags that were read, by directory and name.
type tagValues map[string]any

// readTags lets imagemeta convert the values of a TIFF structure that is sound.
// Should it panic all the same, what was read so far stays.
func readTags(tiff []byte, warned *warnings) (tags tagValues) {
	tags = tagValues{}
	defer func() {
		if p := recover(); p != nil {
			warned.add("EXIF: reading stopped: %v", p)
		}
	}()
	_, err := imagemeta.Decode(imagemeta.Options{
		R: bytes.NewReader(tiff), ImageFormat: imagemeta.TIFF, Sources: imagemeta.EXIF,
		LimitNumTags: 3 * maxEntries, LimitTagSize: maxTagBytes,
		ShouldHandleTag: func(t imagemeta.TagInfo) bool {
			return !strings.HasPrefix(t.Tag, imagemeta.UnknownPrefix)
		},
		HandleTag: func(t imagemeta.TagInfo) error {
			key := t.Namespace + "/" + t.Tag
			if _, ok := tags[key]; !ok {
				tags[key] = t.Value
			}
			return nil
		},
		Warnf: func(format string, args ...any) { warned.add("EXIF: "+format, args...) },
	})
	if err != nil {
		warned.add("EXIF: reading stopped: %v", err)
	}
	return tags
}

func (v tagValues) text(dir, tag string) string {
	s, _ := v[dir+"/"+tag].(string)
	return clean(s, maxTextBytes)
}

// positive is the value of a rational, rounded to 2 decimals; 0, which means
// absent, unless it lies between 0 and limit.
func (v tagValues) positive(dir, tag string, limit float64, warned *warnings) float64 {
	f, ok := v.rational(dir, tag)
	if !ok || f == 0 {
		return 0
	}
	if f < 0 || f > limit {
		warned.add("EXIF %s: %g is impossible", tag, f)
		return 0
	}
	return round(f, 2)
}

func (v tagValues) rational(dir, tag string) (float64, bool) {
	r, ok := v[dir+"/"+tag].(interface{ Float64() float64 })
	if !ok {
		return 0, false
	}
	f := r.Float64()
	return f, !math.IsNaN(f) && !math.IsInf(f, 0)
}

// exposureTime is the reduced fraction of the file, in seconds.
func (v tagValues) exposureTime(warned *warnings) string {
	r, ok := v[dirExif+"/ExposureTime"].(imagemeta.Rat[uint32])
	if !ok || r.Num() == 0 {
		return ""
	}
	if const1Day := 86_400.0; r.Float64() > const1Day {
		warned.add("EXIF ExposureTime: %s s is impossible", r)
		return ""
	}
	return r.String()
}

// iso is the sensitivity. Its tag has 16 bits; a camera that needs more sets them
// all and writes the rest into another tag.
func (v tagValues) iso() int {
	const overflow = 65535
	iso := v.whole("ISO")
	if iso == overflow || iso == 0 {
		for _, tag := range [...]string{"RecommendedExposureIndex", "ISOSpeed"} {
			if more := v.whole(tag); more > 0 && more <= 100_000_000 {
				return more
			}
		}
	}
	return iso
}

// whole is the first value of an EXIF tag of whole numbers.
func (v tagValues) whole(tag string) int {
	value := v[dirExif+"/"+tag]
	if list, ok := value.([]any); ok && len(list) > 0 {
		value = list[0]
	}
	switch n := value.(type) {
	case uint16:
		return int(n)
	case uint32:
		return int(n)
	}
	return 0
}

// takenAt is when the picture was taken or, when nobody says so, digitised or
// changed last.
func (v tagValues) takenAt(warned *warnings) string {
	for _, when := range [...]struct{ dir, tag, zone string }{
		{dirExif, "DateTimeOriginal", "OffsetTimeOriginal"},
		{dirExif, "CreateDate", "OffsetTimeDigitized"},
		{dirImage, "ModifyDate", "OffsetTime"},
	} {
		s := v.text(when.dir, when.tag)
		// A camera whose clock was never set writes zeros, blanks or colons only.
		if strings.Trim(s, "0: ") == "" {
			continue
		}
		t, err := time.Parse("2006:01:02 15:04:05", s)
		if err != nil {
			warned.add("EXIF %s: %q is no time", when.tag, s)
			continue
		}
		zone := v.text(dirExif, when.zone)
		if strings.Trim(zone, ": ") == "" {
			return t.Format("2006-01-02T15:04:05")
		}
		zoned, err := time.Parse("2006-01-02T15:04:05Z07:00", t.Format("2006-01-02T15:04:05")+zone)
		if err != nil {
			warned.add("EXIF %s: %q is no time zone", when.zone, zone)
			return t.Format("2006-01-02T15:04:05")
		}
		return zoned.Format("2006-01-02T15:04:05Z07:00")
	}
	return ""
}

// gps is the place, when both of its coordinates and the halves of the globe that
// they are in are known: a place without its sign would be a lie.
func (v tagValues) gps(warned *warnings) *pipeline.GPS {
	latitude, err := v.coordinate("GPSLatitude", "N", "S", 90)
	if err != nil {
		warned.add("EXIF GPSLatitude: %v", err)
	}
	longitude, errLongitude := v.coordinate("GPSLongitude", "E", "W", 180)
	if errLongitude != nil {
		warned.add("EXIF GPSLongitude: %v", errLongitude)
	}
	if err != nil || errLongitude != nil || math.IsNaN(latitude) || math.IsNaN(longitude) {
		return nil
	}
	g := &pipeline.GPS{Latitude: round(latitude, 6), Longitude: round(longitude, 6)}
	if altitude, ok := v.rational(dirGPS, "GPSAltitude"); ok {
		if below, _ := v[dirGPS+"/GPSAltitudeRef"].(uint8); below == 1 || below == 3 {
			altitude = -altitude
		}
		if math.Abs(altitude) > 10_000_000 {
			warned.add("EXIF GPSAltitude: %g m is impossible", altitude)
		} else {
			altitude = round(altitude, 1)
			g.Altitude = &altitude
		}
	}
	return g
}

// coordinate is one coordinate in degrees, NaN when the file has none.
func (v tagValues) coordinate(tag, positive, negative string, limit float64) (float64, error) {
	degrees, ok := v[dirGPS+"/"+tag].(float64)
	if !ok {
		return math.NaN(), nil
	}
	if !(degrees >= 0 && degrees <= limit) {
		return 0, fmt.Errorf("%g degrees are impossible", degrees)
	}
	switch ref := strings.ToUpper(v.text(dirGPS, tag+"Ref")); ref {
	case positive:
		return degrees, nil
	case negative:
		return 0 - degrees, nil
	default:
		return 0, fmt.Errorf("its half of the globe is %q", ref)
	}
}
