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
	Concurrency   int    `env:"CONCURRENCY" envDefault:"0"`             // images in hand at once; 0: one for each processor
	MaxPixelBytes int64  `env:"MAX_PIXEL_BYTES" envDefault:"536870912"` // of decoded pixels in memory at once
	MetadataGPS   string `env:"METADATA_GPS" envDefault:"keep"`         // places in the record: keep, coarse or drop
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
