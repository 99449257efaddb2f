package embed

import "slices"

// span is a range of bytes of the file, end excluded.
type span struct{ start, end int }

func (s span) of(data []byte) []byte { return data[s.start:s.end] }
func (s span) empty() bool           { return s.end == s.start }

// edit replaces a range with other bytes.
type edit struct {
	span
	with []byte
}

func (e edit) growth() int { return len(e.with) - (e.end - e.start) }

// edits are edits of one file, which must not overlap.
type edits []edit

// apply returns a new slice with the edits applied. It copies every byte once.
func (es edits) apply(data []byte) []byte {
	slices.SortStableFunc(es, func(a, b edit) int { return a.start - b.start })
	size := len(data)
	for _, e := range es {
		size += e.growth()
	}
	out := make([]byte, 0, size)
	at := 0
	for _, e := range es {
		out = append(append(out, data[at:e.start]...), e.with...)
		at = e.end
	}
	return append(out, data[at:]...)
}

// moved returns the new position of an unedited byte.
func (es edits) moved(at int) int {
	to := at
	for _, e := range es {
		if e.end <= at {
			to += e.growth()
		}
	}
	return to
}

// shift reports whether the edits move one position relative to another.
func (es edits) shift(a, b int) bool {
	return es.moved(a)-a != es.moved(b)-b
}
