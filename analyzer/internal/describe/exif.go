package describe

import (
	"bytes"
	"math"
	"strings"

	"github.com/bep/imagemeta"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// readExif reads the camera's metadata from the TIFF structure of an EXIF block. An invalid tag costs only that
// tag and adds a warning.
func readExif(tiff []byte, warned *warnings) embedded {
	if len(tiff) == 0 {
		return embedded{}
	}
	sound := sanitizeTIFF(tiff, warned)
	if sound == nil {
		return embedded{}
	}
	tags := readTags(sound, warned)
	b := embedded{
		exif: pipeline.Exif{
			CameraMake:    tags.text(dirImage, "Make"),
			CameraModel:   tags.text(dirImage, "Model"),
			LensModel:     tags.text(dirExif, "LensModel"),
			Software:      tags.text(dirImage, "Software"),
			TakenAt:       tags.takenAt(warned),
			ExposureTime:  tags.exposureTime(warned),
			FNumber:       tags.positive(dirExif, "FNumber", 1000, warned),
			ISO:           tags.iso(),
			ExposureBias:  tags.exposureBias(warned),
			FocalLength:   tags.positive(dirExif, "FocalLength", 100_000, warned),
			FocalLength35: tags.whole(dirExif, "FocalLengthIn35mmFormat"),
			FlashFired:    tags.flashFired(),
			GPS:           tags.gps(warned),
		},
		copyright: tags.text(dirImage, "Copyright"),
		rating:    ratingOf(float64(tags.whole(dirImage, "Rating"))),
		comment:   tags.text(dirExif, "UserComment"),
	}
	b.description = tags.description(b.exif)
	// Several names are separated by semicolons.
	b.creators = strings.Split(tags.raw(dirImage, "Artist"), ";")
	return b
}

// The directories of an EXIF block, by imagemeta's names.
const (
	dirImage = "IFD0"
	dirExif  = "IFD0/ExifIFDP"
	dirGPS   = "IFD0/GPSInfoIFD"
)

// tagValues holds the values of the tags that were read, by directory and name.
type tagValues map[string]any

// readTags converts the values of a sanitized TIFF structure with imagemeta. If imagemeta panics nevertheless,
// the values read before remain.
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
	return clean(v.raw(dir, tag), maxTextBytes)
}

// raw returns a text as it is in the file.
func (v tagValues) raw(dir, tag string) string {
	s, _ := v[dir+"/"+tag].(string)
	return eitherText([]byte(s))
}

// positive returns the value of a rational, rounded to 2 decimals, or 0, which means absent, unless it lies
// between 0 and limit.
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

// exposureTime returns the reduced fraction of the file, in seconds.
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

// iso returns the sensitivity. Its tag has 16 bits; a camera that needs more sets them all and writes the value
// into another tag.
func (v tagValues) iso() int {
	const overflow = 65535
	iso := v.whole(dirExif, "ISO")
	if iso == overflow || iso == 0 {
		for _, tag := range [...]string{"RecommendedExposureIndex", "ISOSpeed"} {
			if more := v.whole(dirExif, tag); more > 0 && more <= 100_000_000 {
				return more
			}
		}
	}
	return iso
}

// whole returns the first value of an integer tag.
func (v tagValues) whole(dir, tag string) int {
	value := v[dir+"/"+tag]
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

// exposureBias returns the bias in EV. 0 is also a valid value.
func (v tagValues) exposureBias(warned *warnings) *float64 {
	bias, ok := v.rational(dirExif, "ExposureCompensation")
	if !ok {
		return nil
	}
	if math.Abs(bias) > 99 {
		warned.add("EXIF ExposureCompensation: %g EV are impossible", bias)
		return nil
	}
	bias = round(bias, 2)
	return &bias
}

func (v tagValues) flashFired() *bool {
	flash, ok := v[dirExif+"/Flash"].(uint16)
	if !ok {
		return nil
	}
	fired := flash&1 == 1
	return &fired
}

// description returns a person's description. Many cameras write their own name or that of a standard there.
func (v tagValues) description(e pipeline.Exif) string {
	s := clean(v.raw(dirImage, "ImageDescription"), maxDescriptionBytes)
	folded := strings.ToLower(s)
	for _, machine := range [...]string{
		strings.ToLower(e.CameraMake), strings.ToLower(e.CameraModel),
		"olympus digital camera", "sony dsc", "minolta dsc", "minolta digital camera", "konica minolta digital camera",
		"casio digital camera", "digital camera", "digital image", "samsung", "samsung camera pictures", "pentax", "kodak", "dcf 1.0", "exif",
		"exif jpeg", "exif_jpeg_picture", "exif_jpeg_t422", "jpeg", "default", "image", "untitled", "screenshot", "my beautiful PICT@URE",
	} {
		if folded == machine {
			return ""
		}
	}
	// Drones and action cameras write the file name.
	for _, prefix := range [...]string{"dcim\\", "dcim/", "c:\\"} {
		if strings.HasPrefix(folded, prefix) {
			return ""
		}
	}
	return s
}
