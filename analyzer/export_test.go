package analyzer

import (
	"context"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Concurrency returns the number of images in flight for a number of processors.
var Concurrency = concurrency

// OutOfMemory makes the first calls of the analyzer's describer return err.
func OutOfMemory(s *Service, times int, err error) {
	s.describer = &outOfMemory{s.describer, times, err}
}

type outOfMemory struct {
	describer
	times int
	err   error
}

func (s *outOfMemory) Describe(ctx context.Context, data []byte) (pipeline.Metadata, []byte, error) {
	if s.times--; s.times >= 0 {
		return pipeline.Metadata{}, nil, s.err
	}
	return s.describer.Describe(ctx, data)
}
