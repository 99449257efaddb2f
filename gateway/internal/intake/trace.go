package intake

import (
	"context"
	"errors"

	"github.com/imagebatch/imagebatch/gateway/internal/intake/download"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// traced starts the span of an image's intake: the check and storage of inline bytes, or the
// fetch of a URL.
func (in *Intake) traced(ctx context.Context, jobID string, index int, trace pipeline.TraceID, source string) (context.Context, *telemetry.Span) {
	ctx, span := in.deps.Traces.Image(ctx, trace, "intake")
	span.Image(jobID, index)
	span.SetString("source", source)
	return ctx, span
}

// endIntake ends the intake span with the failure, the error or success.
func endIntake(span *telemetry.Span, failure *pipeline.Failure, err error) {
	switch {
	case failure != nil:
		span.Fail(failure.Code, failure.Text)
	case err != nil:
		span.Fail("interrupted", "")
	}
	span.End()
}

// downloading starts the span of a download with all its attempts. Of the URL it records only
// the host, because the rest may contain secrets.
func (in *Intake) downloading(ctx context.Context, url string) (context.Context, *telemetry.Span) {
	ctx, span := in.deps.Traces.Part(ctx, "download")
	if span != nil {
		span.SetString("server.address", download.Host(url))
	}
	return ctx, span
}

// endDownload ends the span of a download.
func endDownload(span *telemetry.Span, err error) {
	if f, ok := errors.AsType[*pipeline.Failure](err); ok {
		span.Fail(f.Code, f.Text)
	} else if _, ok := errors.AsType[*download.LimitedError](err); ok {
		span.Fail("postponed", err.Error())
	} else if err != nil {
		span.Fail("interrupted", "")
	}
	span.End()
}

// endTraces ends the traces of images whose batch did not become a job.
func (b *Batch) endTraces(ctx context.Context) {
	if b.uncertain {
		return // the job may exist, and then ends them itself
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

// source returns where an image comes from: "url" or "inline".
func source(img *job.Image) string {
	if img.URL != "" {
		return "url"
	}
	return "inline"
}
