package analyzer

import (
	"cmp"
	"errors"
	"runtime"

	"github.com/imagebatch/imagebatch/analyzer/internal/describe"
	"github.com/imagebatch/imagebatch/shared/service"
)

// DefaultAddr is where the analyzer answers operators unless HTTP_ADDR says
// otherwise.
const DefaultAddr = ":8081"

// Config is the analyzer's configuration.
type Config struct {
	service.Base
	// Images in hand at once.
	//
	// Default: one for each processor of the machine
	Concurrency int `env:"CONCURRENCY" envDefault:"0"`
	// Decoded pixels held in memory at once, in bytes.
	MaxPixelBytes int64 `env:"MAX_PIXEL_BYTES" envDefault:"536870912"`
	// What the record tells of the place that a file brings: `keep`, `coarse` (2 decimals, about 1 km, and no altitude) or
	// `drop`. Words that a person wrote, and the image itself, stay as they are.
	MetadataGPS string `env:"METADATA_GPS" envDefault:"keep"`
}

// Complete fills in what depends on the machine and checks the rest.
func (c Config) Complete() (Config, error) {
	if c.Concurrency == 0 {
		c.Concurrency = runtime.GOMAXPROCS(0)
	}
	c.MetadataGPS = cmp.Or(c.MetadataGPS, string(describe.KeepGPS))
	var errs []error
	if c.Concurrency < 1 || c.Concurrency > 256 {
		errs = append(errs, errors.New("CONCURRENCY: want 1 to 256, or 0 for one a processor"))
	}
	if c.MaxPixelBytes < 1<<20 {
		errs = append(errs, errors.New("MAX_PIXEL_BYTES: want at least 1048576"))
	}
	if !describe.GPS(c.MetadataGPS).Valid() {
		errs = append(errs, errors.New("METADATA_GPS: want keep, coarse or drop"))
	}
	return c, errors.Join(errs...)
}
