package analyzer

import (
	"context"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Concurrency is how many images are taken in hand on so many processors.
var Concurrency = concurrency

// Short makes an analyzer find no memory so many times.
func Short(s *Service, times int, err error) {
	s.describer = &short{s.describer, times, err}
}

type short struct {
	describer
	times int
	err   error
}

func (s *short) Describe(ctx context.Context, data []byte) (pipeline.Metadata, []byte, error) {
	if s.times--; s.times >= 0 {
		return pipeline.Metadata{}, nil, s.err
	}
	return s.describer.Describe(ctx, data)
}
