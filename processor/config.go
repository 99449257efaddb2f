package processor

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/imagebatch/imagebatch/processor/internal/embed"
	"github.com/imagebatch/imagebatch/processor/internal/outputs"
	"github.com/imagebatch/imagebatch/shared/service"
)

// DefaultAddr is the admin address of the processor if HTTP_ADDR is not set.
const DefaultAddr = ":8082"

// Config is the processor's configuration.
type Config struct {
	service.Base
	// Number of images processed concurrently. A processor mostly waits for the storage.
	//
	// Default: `8`
	Concurrency int `env:"CONCURRENCY" envDefault:"0"`
	// `fill`: write a generated title, description and keywords into files that have none. `never`: write them into no file.
	EmbedDescriptive string `env:"EMBED_DESCRIPTIVE" envDefault:"fill"`
	// Write into files with Content Credentials too. This breaks their signature.
	EmbedSigned bool `env:"EMBED_SIGNED" envDefault:"false"`
	// Store the XMP packet of every image next to it, as `{name}.xmp`.
	SidecarXMP bool `env:"SIDECAR_XMP" envDefault:"false"`
	// Remove GPS positions from processed images and records.
	StripGPS bool `env:"STRIP_GPS" envDefault:"false"`
}

// Complete sets the defaults and validates the configuration.
func (c Config) Complete() (Config, error) {
	c.Concurrency, c.EmbedDescriptive = cmp.Or(c.Concurrency, 8), cmp.Or(c.EmbedDescriptive, fill)
	var mistakes []error
	if c.Concurrency < 1 || c.Concurrency > 256 {
		mistakes = append(mistakes, errors.New("CONCURRENCY: want 1 to 256, or 0 for 8"))
	}
	if c.EmbedDescriptive != fill && c.EmbedDescriptive != never {
		mistakes = append(mistakes, fmt.Errorf("EMBED_DESCRIPTIVE: %q want fill or never", c.EmbedDescriptive))
	}
	return c, errors.Join(mistakes...)
}

// The values of EMBED_DESCRIPTIVE.
const (
	fill  = "fill"
	never = "never"
)

// options returns the options for the outputs.
func (c Config) options() outputs.Options {
	return outputs.Options{
		Options: embed.Options{
			KeepCaptions: c.EmbedDescriptive == never, EmbedSigned: c.EmbedSigned, StripPlace: c.StripGPS,
		},
		Sidecar: c.SidecarXMP,
	}
}
