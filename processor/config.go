package processor

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/imagebatch/imagebatch/processor/internal/outputs"
	"github.com/imagebatch/imagebatch/shared/embed"
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
	// Which generated titles, descriptions, keywords and alternative texts are written into files that have none. `captions`: those of a vision model. `all`: also those composed from measurements. `never`: none. `fill` is the old name of `all`.
	EmbedDescriptive string `env:"EMBED_DESCRIPTIVE" envDefault:"captions"`
	// Upper level under which the keywords of a vision model are also written as `lr:hierarchicalSubject`, such as `AI`. A vertical bar separates several levels.
	//
	// Default: none
	CaptionKeywordParent string `env:"CAPTION_KEYWORD_PARENT"`
	// Write into files with Content Credentials too. This breaks their signature.
	EmbedSigned bool `env:"EMBED_SIGNED" envDefault:"false"`
	// Store the XMP packet of every image next to it, as `{name}.xmp`.
	SidecarXMP bool `env:"SIDECAR_XMP" envDefault:"false"`
	// Remove GPS positions from processed images and records.
	StripGPS bool `env:"STRIP_GPS" envDefault:"false"`
}

// Complete sets the defaults and validates the configuration.
func (c Config) Complete() (Config, error) {
	c.Concurrency, c.EmbedDescriptive = cmp.Or(c.Concurrency, 8), cmp.Or(c.EmbedDescriptive, captions)
	var mistakes []error
	if c.Concurrency < 1 || c.Concurrency > 256 {
		mistakes = append(mistakes, errors.New("CONCURRENCY: want 1 to 256, or 0 for 8"))
	}
	if !slices.Contains([]string{never, captions, all, fill}, c.EmbedDescriptive) {
		mistakes = append(mistakes, fmt.Errorf("EMBED_DESCRIPTIVE: %q want never, captions or all", c.EmbedDescriptive))
	}
	if p := c.CaptionKeywordParent; p != "" && (len(p) > maxParent || slices.ContainsFunc(strings.Split(p, "|"), func(level string) bool {
		return strings.TrimSpace(level) == "" || level != strings.TrimSpace(level) || strings.ContainsFunc(level, func(r rune) bool { return !unicode.IsPrint(r) })
	})) {
		mistakes = append(mistakes, fmt.Errorf("CAPTION_KEYWORD_PARENT: %.80q want levels without blanks around them, separated by |, of at most %d bytes together", p, maxParent))
	}
	return c, errors.Join(mistakes...)
}

// maxParent is the length of the longest CAPTION_KEYWORD_PARENT, in bytes.
const maxParent = 256

// The values of EMBED_DESCRIPTIVE.
const (
	never    = "never"
	captions = "captions"
	all      = "all"
	fill     = "fill" // the name of all in earlier releases
)

// options returns the options for the outputs.
func (c Config) options() outputs.Options {
	return outputs.Options{
		Options: embed.Options{
			Captions: c.EmbedDescriptive != never, Composed: c.EmbedDescriptive == all || c.EmbedDescriptive == fill,
			KeywordParent: c.CaptionKeywordParent, EmbedSigned: c.EmbedSigned, StripPlace: c.StripGPS,
		},
		Sidecar: c.SidecarXMP,
	}
}
