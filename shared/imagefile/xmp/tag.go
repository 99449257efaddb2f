package xmp

import (
	"bytes"
	"errors"

	"github.com/imagebatch/imagebatch/shared/imagefile/edit"
)

// tag is a start tag as it is written.
type tag struct {
	name       string      // with its prefix
	attributes []edit.Span // each with the white space before it
}

var (
	errTag        = errors.New("a tag that cannot be split")
	errAttributes = errors.New("two readers count different attributes")
)

// shifted returns a range of a part that starts at at.
func shifted(s edit.Span, at int) edit.Span { return edit.Span{Start: at + s.Start, End: at + s.End} }

// splitTag finds the attributes of a start tag, from its "<" to its ">", that encoding/xml has accepted. The
// decoder returns their names and values, but not their positions.
func splitTag(raw []byte) (tag, error) {
	inner, ok := bytes.CutPrefix(raw, []byte("<"))
	if !ok {
		return tag{}, errTag
	}
	inner, ok = bytes.CutSuffix(inner, []byte(">"))
	if !ok {
		return tag{}, errTag
	}
	inner = bytes.TrimSuffix(inner, []byte("/"))
	nameEnd := bytes.IndexAny(inner, " \t\r\n")
	if nameEnd < 0 {
		return tag{name: string(inner)}, nil
	}
	t := tag{name: string(inner[:nameEnd])}
	at := nameEnd
	for {
		rest := inner[at:]
		blank := len(rest) - len(bytes.TrimLeft(rest, " \t\r\n"))
		if blank == len(rest) {
			return t, nil
		}
		open := bytes.IndexAny(rest[blank:], `"'`)
		if open < 0 {
			return tag{}, errTag
		}
		open += blank
		length := bytes.IndexByte(rest[open+1:], rest[open])
		if length < 0 {
			return tag{}, errTag
		}
		end := open + 1 + length + 1
		// One is added for the "<" that was cut off.
		t.attributes = append(t.attributes, edit.Span{Start: at + 1, End: at + 1 + end})
		at += end
	}
}
