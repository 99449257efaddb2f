package stage_test

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"testing"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// BenchmarkHop measures what a stage adds to its step: decode, run an empty step,
// encode, publish and ack, on an in-memory broker. The outgoing message has a
// thumbnail.
func BenchmarkHop(b *testing.B) {
	memory := membroker.New(pipeline.WorkQueues()...)
	ctx, stop := context.WithCancel(b.Context())
	thumbnail := make([]byte, 12_000)
	done := 0
	b.ReportAllocs()
	var work sync.WaitGroup
	work.Go(func() {
		_ = stage.Run(ctx, stage.Deps{
			Broker: memory, Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry(), Concurrency: 4,
		}, pipeline.ImageUpload, pipeline.MetadataGenerated, func(_ context.Context, u pipeline.Upload) (pipeline.Analysis, error) {
			a, err := analysis(u)
			a.Thumbnail = thumbnail
			return a, err
		})
	})
	work.Go(func() {
		_ = memory.Consume(ctx, pipeline.MetadataGenerated.Name, 1, func(_ context.Context, d broker.Delivery) error {
			if done++; done == b.N {
				stop()
			}
			return d.Ack()
		})
	})
	for i := range b.N {
		for stage.Publish(b.Context(), memory, pipeline.ImageUpload, upload(i)) != nil {
			runtime.Gosched() // the queue is full
		}
	}
	work.Wait()
	stop()
	if err := memory.Close(); err != nil {
		b.Error(err)
	}
}
