package processor

import (
	"errors"

	"github.com/imagebatch/imagebatch/shared/service"
)

// DefaultAddr is where the processor answers operators unless HTTP_ADDR says
// otherwise.
const DefaultAddr = ":8082"

// Config is the processor's configuration.
type Config struct {
	service.Base
	Concurrency int `env:"CONCURRENCY" envDefault:"0"` // images in hand at once; 0: 8, since a processor mostly waits for the store
}

// Complete fills in what is left open and checks the rest.
func (c Config) Complete() (Config, error) {
	if c.Concurrency == 0 {
		c.Concurrency = 8
	}
	if c.Concurrency < 1 || c.Concurrency > 256 {
		return c, errors.New("CONCURRENCY: want 1 to 256, or 0 for 8")
	}
	return c, nil
}
