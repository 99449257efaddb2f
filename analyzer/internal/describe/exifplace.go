package describe

import (
	"fmt"
	"math"
	"strings"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// GPS says what of the places that files bring comes into the record.
type GPS string

// The choices for places.
const (
	KeepGPS   GPS = "keep"   // as exact as the file has it
	CoarseGPS GPS = "coarse" // to about a kilometre, without altitude
	DropGPS   GPS = "drop"   // not at all
)

// Valid tells whether it is one of the choices.
func (g GPS) Valid() bool { return g == KeepGPS || g == CoarseGPS || g == DropGPS }

// apply is what the record tells of a place.
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
