// Package edit is a list of edits of a file. It copies the bytes between the edits and never changes its input.
package edit

import "slices"

// Span is a range of bytes, end excluded.
type Span struct{ Start, End int }

// Of returns the bytes of the range.
func (s Span) Of(data []byte) []byte { return data[s.Start:s.End] }

// Empty reports whether the range has no bytes.
func (s Span) Empty() bool { return s.End == s.Start }

// Overlaps reports whether the ranges have a byte in common.
func (s Span) Overlaps(o Span) bool { return s.Start < o.End && o.Start < s.End }

// Edit replaces a range with other bytes.
type Edit struct {
	Span

	With []byte
}

func (e Edit) growth() int { return len(e.With) - (e.End - e.Start) }

// Edits are edits of one file, which must not overlap.
type Edits []Edit

// Apply returns a new slice with the edits applied. It copies every byte once.
func (es Edits) Apply(data []byte) []byte {
	slices.SortStableFunc(es, func(a, b Edit) int { return a.Start - b.Start })
	size := len(data)
	for _, e := range es {
		size += e.growth()
	}
	out := make([]byte, 0, size)
	at := 0
	for _, e := range es {
		out = append(append(out, data[at:e.Start]...), e.With...)
		at = e.End
	}
	return append(out, data[at:]...)
}

// Moved returns the new position of an unedited byte.
func (es Edits) Moved(at int) int {
	to := at
	for _, e := range es {
		if e.End <= at {
			to += e.growth()
		}
	}
	return to
}

// Shift reports whether the edits move one position relative to another.
func (es Edits) Shift(a, b int) bool {
	return es.Moved(a)-a != es.Moved(b)-b
}
