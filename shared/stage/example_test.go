package stage_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// A step is a function from one message to the next. The stage publishes the output of
// the step and then acks its input.
func Example() {
	b := membroker.New(pipeline.WorkQueues()...)
	defer b.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	deps := stage.Deps{Broker: b, Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry(), Concurrency: 1}
	upload := pipeline.Upload{
		Envelope:     pipeline.NewEnvelope("550e8400-e29b-41d4-a716-446655440000", 0, time.Now()),
		OriginalPath: "photo.jpg", ContentType: "image/jpeg", Size: 1, SHA256: "00",
	}
	if err := stage.Publish(ctx, b, pipeline.ImageUpload, upload); err != nil {
		fmt.Println(err)
		return
	}
	err := stage.Run(ctx, deps, pipeline.ImageUpload, pipeline.MetadataGenerated,
		func(_ context.Context, u pipeline.Upload) (pipeline.Analysis, error) {
			defer stop()
			fmt.Println("analyze", u.OriginalPath)
			return pipeline.Analysis{Upload: u, Metadata: pipeline.Metadata{Format: "jpeg"}}, nil
		})
	fmt.Println(err, b.Len(pipeline.ImageUpload.Name), b.Len(pipeline.MetadataGenerated.Name))
	// Output:
	// analyze photo.jpg
	// <nil> 0 1
}
