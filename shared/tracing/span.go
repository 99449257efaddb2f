package tracing

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Span is a piece of work while it is done. It belongs to one goroutine. A nil
// Span is one that is not recorded.
type Span struct{ span trace.Span }

// recorded makes a Span of one that is, or nil.
func recorded(s trace.Span) *Span {
	if !s.IsRecording() {
		return nil
	}
	return &Span{s}
}

// SetString notes a text, of which 256 bytes are kept. An empty one is not noted.
func (s *Span) SetString(key, value string) {
	if s != nil && value != "" {
		s.span.SetAttributes(attribute.String(key, value))
	}
}

// SetInt notes a number.
func (s *Span) SetInt(key string, value int64) {
	if s != nil {
		s.span.SetAttributes(attribute.Int64(key, value))
	}
}

// SetBool notes whether something is so.
func (s *Span) SetBool(key string, value bool) {
	if s != nil {
		s.span.SetAttributes(attribute.Bool(key, value))
	}
}

// Image notes which image the work is about.
func (s *Span) Image(jobID string, index int) {
	s.SetString("job_id", jobID)
	s.SetInt("index", int64(index))
}

// Event notes that something happened now.
func (s *Span) Event(name string) {
	if s != nil {
		s.span.AddEvent(name)
	}
}

// Fail notes that the work went wrong. The code is one of few words; the text, which
// may be empty, is what a client may read.
func (s *Span) Fail(code, text string) {
	if s != nil {
		s.span.SetAttributes(attribute.String("error_code", code), attribute.String("error.type", code))
		s.span.SetStatus(codes.Error, text)
	}
}

// End ends the span. It is called once.
func (s *Span) End() {
	if s != nil {
		s.span.End()
	}
}

// endAt ends the span at a time that is past.
func (s *Span) endAt(t time.Time) {
	if s != nil {
		s.span.End(trace.WithTimestamp(t))
	}
}
