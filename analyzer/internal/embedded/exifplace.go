package embedded

import (
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

// gps returns the place if both coordinates and their hemispheres are known: a place without its sign would be
// wrong.
func (v exifTags) gps(warned *record.Warnings) *pipeline.GPS {
	latitude, err := v.coordinate("GPSLatitude", "N", "S", 90)
	if err != nil {
		warned.Add("EXIF GPSLatitude: %v", err)
	}
	longitude, errLongitude := v.coordinate("GPSLongitude", "E", "W", 180)
	if errLongitude != nil {
		warned.Add("EXIF GPSLongitude: %v", errLongitude)
	}
	if err != nil || errLongitude != nil || math.IsNaN(latitude) || math.IsNaN(longitude) {
		return nil
	}
	g := &pipeline.GPS{Latitude: record.Round(latitude, 6), Longitude: record.Round(longitude, 6)}
	if altitude, ok := v.rational("GPSAltitude"); ok {
		if below := v.whole("GPSAltitudeRef"); below == 1 || below == 3 {
			altitude = -altitude
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

// coordinate returns one coordinate in degrees, or NaN if the file has none.
func (v exifTags) coordinate(tag, positive, negative string, limit float64) (float64, error) {
	e, ok := v.entries[tag]
	if !ok {
		return math.NaN(), nil
	}
	degrees, unit := 0.0, 1.0
	for i := range 3 {
		f, _ := v.block.Fraction(e, i)
		degrees += f.Float() / unit
		unit *= 60
	}
	if !(degrees >= 0 && degrees <= limit) {
		return 0, fmt.Errorf("%g degrees are impossible", degrees)
	}
	switch ref := strings.ToUpper(v.text(tag + "Ref")); ref {
	case positive:
		return degrees, nil
	case negative:
		return 0 - degrees, nil
	default:
		return 0, fmt.Errorf("its half of the globe is %q", ref)
	}
}
