package intake

import (
	"context"
	"errors"

	"github.com/imagebatch/imagebatch/gateway/internal/intake/download"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// traced begins the span of an image's intake: of inline bytes that are checked and
// stored, or of a URL that is fetched.
func (in *Intake) traced(ctx context.Context, jobID string, index int, trace pipeline.TraceID, source string) (context.Context, *telemetry.Span) {
	ctx, span := in.deps.Traces.Image(ctx, trace, "intake")
	span.Image(jobID, index)
	span.SetString("source", source)
	return ctx, span
}

// endIntake ends the span of an intake that has ended in one of these ways.
func endIntake(span *telemetry.Span, failure *pipeline.Failure, err error) {
	switch {
	case failure != nil:
		span.Fail(failure.Code, failure.Text)
	case err != nil:
		span.Fail("interrupted", "")
	}
	span.End()
}

// downloading begins the span of a download, all its tries together. Of the address
// it tells the host alone: what stands behind it may be a secret.
func (in *Intake) downloading(ctx context.Context, url string) (context.Context, *telemetry.Span) {
	ctx, span := in.deps.Traces.Part(ctx, "download")
	if span != nil {
		span.SetString("server.address", download.Host(url))
	}
	return ctx, span
}

// endDownload ends it.
func endDownload(span *telemetry.Span, err error) {
	if f, ok := errors.AsType[*pipeline.Failure](err); ok {
		span.Fail(f.Code, f.Text)
	} else if err != nil {
		span.Fail("interrupted", "")
	}
	span.End()
}

// endTraces ends the traces of images that came in for a job that never was.
func (b *Batch) endTraces(ctx context.Context) {
	if b.doubtful {
		return // it may be there after all, and ends them itself
	}
	for i := range b.images {
		b.endTrace(ctx, &b.images[i])
	}
}

func (b *Batch) endTrace(ctx context.Context, img *job.Image) {
	now := b.in.deps.Now()
	b.in.deps.Traces.Ended(ctx, telemetry.ImageEnd{
		Image: img.TraceID, JobID: b.id, Index: img.Index, Source: source(img), Bytes: img.Original.Size,
		Code: "not_accepted", Text: "The request was not accepted", Origin: b.in.deps.Traces.Origin(ctx), Created: now, Ended: now,
	})
}

// source is where an image comes from.
func source(img *job.Image) string {
	if img.URL != "" {
		return "url"
	}
	return "inline"
}
