package embedded

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// GPS controls how much of a file's place the record contains.
type GPS string

// The values of GPS.
const (
	KeepGPS   GPS = "keep"   // as exact as in the file
	CoarseGPS GPS = "coarse" // rounded to about a kilometer, without altitude
	DropGPS   GPS = "drop"   // no place
)

// Valid reports whether g is one of the GPS constants.
func (g GPS) Valid() bool { return g == KeepGPS || g == CoarseGPS || g == DropGPS }

// apply returns the place for the record.
func (g GPS) apply(place *pipeline.GPS) *pipeline.GPS {
	switch {
	case place == nil || g == DropGPS:
		return nil
	case g == CoarseGPS:
		return &pipeline.GPS{Latitude: record.Round(place.Latitude, 2), Longitude: record.Round(place.Longitude, 2)}
	default:
		return place
	}
}

// nowhere reports whether coordinates stand for an unknown place: programs write 0, 0 for it.
func nowhere(latitude, longitude float64) bool {
	return record.Round(latitude, 6) == 0 && record.Round(longitude, 6) == 0
}

// void reports whether the status of a GPS receiver means that it had no fix. The coordinates are then invented, or old.
func void(status string) bool { return strings.HasPrefix(strings.ToUpper(status), "V") }

// gps returns the place if both coordinates and their hemispheres are known: a place without its sign would be
// wrong.
func (v exifTags) gps(warned *record.Warnings) *pipeline.GPS {
	if void(v.text("GPSStatus")) {
		return nil
	}
	latitude, err := v.coordinate("GPSLatitude", "N", "S", 90)
	if err != nil {
		warned.Add("EXIF GPSLatitude: %v", err)
	}
	longitude, errLongitude := v.coordinate("GPSLongitude", "E", "W", 180)
	if errLongitude != nil {
		warned.Add("EXIF GPSLongitude: %v", errLongitude)
	}
	if err != nil || errLongitude != nil || math.IsNaN(latitude) || math.IsNaN(longitude) || nowhere(latitude, longitude) {
		return nil
	}
	g := &pipeline.GPS{Latitude: record.Round(latitude, 6), Longitude: record.Round(longitude, 6)}
	if altitude, ok := v.number("GPSAltitude"); ok {
		if below, _ := v.number("GPSAltitudeRef"); below == 1 || below == 3 {
			altitude = -math.Abs(altitude)
		}
		if math.Abs(altitude) > 10_000_000 {
			warned.Add("EXIF GPSAltitude: %g m is impossible", altitude)
		} else {
			altitude = record.Round(altitude, 1)
			g.Altitude = &altitude
		}
	}
	return g
}

// coordinate returns one coordinate in degrees, or NaN if the file has none. It may consist of degrees, minutes and
// seconds, or of less. A negative number needs no hemisphere.
func (v exifTags) coordinate(tag, positive, negative string, limit float64) (float64, error) {
	e, ok := v.entries[tag]
	if !ok {
		return math.NaN(), nil
	}
	degrees, unit, south := 0.0, 1.0, false
	for i := range 3 {
		// Unknown minutes or seconds are none.
		if part, ok := v.block.Number(e, i); ok {
			degrees += math.Abs(part) / unit
			south = south || part < 0
		} else if f, _ := v.block.Fraction(e, i); f.Num != 0 {
			return 0, errors.New("a fraction over zero")
		}
		unit *= 60
	}
	if !(degrees <= limit) {
		return 0, fmt.Errorf("%g degrees are impossible", degrees)
	}
	ref := strings.ToUpper(v.text(tag + "Ref"))
	switch {
	case south || strings.HasPrefix(ref, negative):
		return 0 - degrees, nil
	case strings.HasPrefix(ref, positive), ref == "" && degrees == 0:
		return degrees, nil
	default:
		return 0, fmt.Errorf("its half of the globe is %q", ref)
	}
}
