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

// usualPixelBytes is what the decoded pixels of an image are reckoned at: those of a
// screenshot of 4K. A photograph takes far less, since it is decoded scaled down.
const usualPixelBytes = 32 << 20

// concurrency is how many images are taken in hand at once, and so how many messages
// are fetched: one for each processor, but no more than usually find room in memory at
// the same time. What an analyzer had to hold until a neighbour is done, another one
// can begin.
func concurrency(processors int, pixelBytes int64) int {
	return int(max(1, min(int64(processors), pixelBytes/usualPixelBytes)))
}

// Complete fills in what depends on the machine and checks the rest.
func (c Config) Complete() (Config, error) {
	if c.Concurrency == 0 {
		c.Concurrency = concurrency(runtime.GOMAXPROCS(0), c.MaxPixelBytes)
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
