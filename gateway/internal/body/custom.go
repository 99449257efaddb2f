package body

import (
	"fmt"
	"math"
	"strings"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// maxWarnings limits the warnings of a request. Another one says how many more there are.
const maxWarnings = 16

// custom is what a client keeps with a batch for itself.
type custom struct {
	metadata map[string]string
	warnings []string
	more     int // warnings beyond maxWarnings
}

// ignored adds a warning. Both texts must be short.
func (c *custom) ignored(place, reason string) {
	if len(c.warnings) == maxWarnings {
		c.more++
		return
	}
	c.warnings = append(c.warnings, fmt.Sprintf("%s ignored: %s", place, reason))
}

// Metadata returns the metadata of the batch, or nil. It is complete once Next has returned
// io.EOF.
func (r *Reader) Metadata() map[string]string { return r.custom.metadata }

// Warnings returns what was ignored in the batch, in at most 17 texts of less than 512 bytes, or
// nil. It is complete once Next has returned io.EOF.
func (r *Reader) Warnings() []string { return r.custom.all() }

// Captions returns the member captions of the batch, or nil if it has none. It is complete once Next has
// returned io.EOF.
func (r *Reader) Captions() *bool { return r.captions }

func (c *custom) all() []string {
	if c.more == 0 {
		return c.warnings
	}
	return append(c.warnings[:maxWarnings:maxWarnings], fmt.Sprintf("%d more warnings", c.more))
}

// The kinds of a value.
const (
	absent  = iota // null or ""
	entered        // an object or an array, as it should be
	wrong
)

// enter moves into an object or an array, which starts with open. It skips any other value, at
// the given depth.
func (r *Reader) enter(open byte, depth int) (kind int, err error) {
	c, err := r.src.token()
	switch {
	case err != nil:
		return wrong, err
	case c == open:
		r.src.next()
		return entered, nil
	case c == 'n':
		return absent, r.src.literal("null")
	case c == '"':
		r.src.next()
		if text, _, err := r.src.text(1, math.MaxInt); err != nil || text == "" {
			return absent, err
		}
		return wrong, nil
	}
	return wrong, r.src.skip(depth)
}

// customID reads what a client calls an image. Of several such members the last one counts.
func (r *Reader) customID(place string, depth int) (string, error) {
	id, _, reason, err := r.label(job.MaxCustomIDBytes, depth)
	if reason != "" {
		r.custom.ignored(place, reason)
		return "", err
	}
	return id, err
}

// label reads a text of at most limit bytes, or null, which is absent. Any other value is skipped,
// for the returned reason.
func (r *Reader) label(limit, depth int) (text string, present bool, reason string, err error) {
	c, err := r.src.token()
	switch {
	case err != nil:
		return "", false, "", err
	case c == 'n':
		return "", false, "", r.src.literal("null")
	case c != '"':
		return "", true, "it must be a string", r.src.skip(depth)
	}
	r.src.next()
	text, whole, err := r.src.text(limit, math.MaxInt)
	if problem := unfit(text, whole, limit); problem != "" {
		reason = "it " + problem
	}
	return text, true, reason, err
}

// unfit returns why a text cannot be kept, or "".
func unfit(text string, whole bool, limit int) string {
	switch {
	case !whole:
		return fmt.Sprintf("is longer than %d bytes", limit)
	case !job.Storable(text):
		return "contains U+0000"
	}
	return ""
}

// metadata reads the metadata of the batch. What it cannot keep is left out. Of several such
// objects, and of several members of one name, the last one counts.
func (r *Reader) metadata(place string, depth int) (map[string]string, error) {
	switch kind, err := r.enter('{', depth); {
	case err != nil || kind == absent:
		return nil, err
	case kind == wrong:
		r.custom.ignored(place, "it must be an object of strings")
		return nil, nil
	}
	var kept map[string]string
	for first := true; ; first = false {
		name, whole, more, err := r.src.named(first, job.MaxMetadataBytes)
		if err != nil || !more {
			return kept, err
		}
		value, present, reason, err := r.label(job.MaxMetadataBytes, depth+1)
		if err != nil {
			return nil, err
		}
		if problem := unfit(name, whole, job.MaxMetadataBytes); problem != "" {
			reason = "its name " + problem
		} else {
			delete(kept, name)
		}
		switch {
		case reason == "" && !present:
			continue
		case reason == "" && len(kept) == job.MaxMetadata:
			reason = fmt.Sprintf("there are more than %d members", job.MaxMetadata)
		}
		if reason != "" {
			r.custom.ignored(fmt.Sprintf("%s[%q]", place, cut(strings.ToValidUTF8(name, ""))), reason)
			continue
		}
		if kept == nil {
			kept = map[string]string{}
		}
		kept[name] = value
	}
}
