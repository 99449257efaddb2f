package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// Closer closes the parts of a service in the reverse order of their addition.
type Closer struct{ steps []step }

type step struct {
	name  string
	close func() error
}

// Add adds a part to be closed.
func (c *Closer) Add(name string, shut func() error) { c.steps = append(c.steps, step{name, shut}) }

// Close closes all parts, the last added first, and joins their errors.
func (c *Closer) Close(ctx context.Context, log *slog.Logger) error {
	var errs []error
	for len(c.steps) > 0 {
		last := c.steps[len(c.steps)-1]
		c.steps = c.steps[:len(c.steps)-1]
		if err := last.close(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", last.name, err))
		}
		log.DebugContext(ctx, "closed", "part", last.name)
	}
	return errors.Join(errs...)
}
