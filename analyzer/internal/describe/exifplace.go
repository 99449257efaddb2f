package describe

import (
	"fmt"
	"math"
	"strings"

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
		return &pipeline.GPS{Latitude: round(place.Latitude, 2), Longitude: round(place.Longitude, 2)}
	default:
		return place
	}
}

// gps returns the place if both coordinates and their hemispheres are known: a place without its sign would be
// wrong.
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

// coordinate returns one coordinate in degrees, or NaN if the file has none.
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
