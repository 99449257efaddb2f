package analyzer

import (
	"cmp"
	"errors"
	"runtime"

	"github.com/imagebatch/imagebatch/analyzer/internal/embedded"
	"github.com/imagebatch/imagebatch/shared/service"
)

// DefaultAddr is the admin address of the analyzer if HTTP_ADDR is not set.
const DefaultAddr = ":8081"

// Config is the analyzer's configuration.
type Config struct {
	service.Base
	// Number of images processed concurrently, and of messages prefetched.
	//
	// Default: one per processor, if `MAX_PIXEL_BYTES` has 32 MiB for each
	Concurrency int `env:"CONCURRENCY" envDefault:"0"`
	// Maximum size of the decoded pixels in memory, in bytes. An image that does not fit waits and never fails for this reason.
	// An image that needs more than the limit is decoded alone.
	MaxPixelBytes int64 `env:"MAX_PIXEL_BYTES" envDefault:"536870912"`
	// Precision of the embedded GPS position in the record: `keep`, `coarse` (2 decimals, about 1 km, and no altitude) or
	// `drop`. Texts written by a person, and the image itself, are not changed.
	MetadataGPS string `env:"METADATA_GPS" envDefault:"keep"`
}

// usualPixelBytes is the assumed size of an image's decoded pixels: those of a 4K screenshot. A photo takes far
// less, because it is decoded at a reduced scale.
const usualPixelBytes = 32 << 20

// concurrency returns the number of images in flight, which is also the number of messages to fetch: one for
// each processor, but no more than usually fit into memory together. A message that would only wait for memory
// here can be processed by another analyzer.
func concurrency(processors int, pixelBytes int64) int {
	return int(max(1, min(int64(processors), pixelBytes/usualPixelBytes)))
}

// Complete sets the defaults that depend on the machine and validates the rest.
func (c Config) Complete() (Config, error) {
	if c.Concurrency == 0 {
		c.Concurrency = concurrency(runtime.GOMAXPROCS(0), c.MaxPixelBytes)
	}
	c.MetadataGPS = cmp.Or(c.MetadataGPS, string(embedded.KeepGPS))
	var errs []error
	if c.Concurrency < 1 || c.Concurrency > 256 {
		errs = append(errs, errors.New("CONCURRENCY: want 1 to 256, or 0 for one per processor"))
	}
	if c.MaxPixelBytes < 1<<20 {
		errs = append(errs, errors.New("MAX_PIXEL_BYTES: want at least 1048576"))
	}
	if !embedded.GPS(c.MetadataGPS).Valid() {
		errs = append(errs, errors.New("METADATA_GPS: want keep, coarse or drop"))
	}
	return c, errors.Join(errs...)
}
