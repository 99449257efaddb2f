// Package body reads the body of a batch request image by image, while it arrives. A [Reader] reads
// JSON, {"images": [{"url" | "base64": …, "name": …, "headers": …, "custom_id": …}, …],
// "metadata": …, "captions": …}, and a [Form] reads multipart/form-data.
//
// It guarantees that a request of any size needs only a window of 64 KiB and one buffer of at
// most Limits.ImageBytes, which is reused for every image. Data beyond that limit is read to
// its closing quote and discarded, and only that image fails. A URL or a name that is too long,
// and invalid base64, also fail only their image. Every other error fails the request: invalid
// JSON by RFC 8259, a duplicate of a known member, a string that is not UTF-8, any other token
// of more than 64 KiB, or nesting deeper than 100.
//
// It is stricter than encoding/json: member names are case-sensitive, invalid UTF-8 and
// duplicates are errors, and the size of tokens and the depth are limited. Like encoding/json,
// it reads an unpaired surrogate escape as U+FFFD. Unknown members are skipped; null and ""
// count as absent. What clients keep with a batch for themselves, custom_id and metadata, never
// fails anything: what is of the wrong type or too long is skipped with a warning. Unlike
// encoding/json, it ignores a byte order mark at the start.
//
// Base64 may be bare or a data URL of any media type, which is ignored. A data URL may also be the
// URL of an image, and is then percent-encoded if it is not base64. Both alphabets of RFC 4648
// are accepted, with and without padding, and white space is skipped. In a data URL, any character
// after the comma may be percent-encoded. The package does not inspect the bytes of images and
// does not fetch URLs.
package body

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Limits are the limits of a request.
type Limits struct {
	Images     int   // maximum number of images
	ImageBytes int64 // maximum decoded size of one image

	// Grow, if not nil, is called before the image buffer grows by that many bytes. The
	// buffer keeps its size to the end of the request. Next returns an error of Grow,
	// wrapped.
	Grow func(bytes int64) error
}

// Limits of the strings of one image, in bytes.
const (
	MaxURLBytes  = 8 << 10
	MaxNameBytes = 1 << 10
)

// Error is a mistake in a request. Text is written for the client.
type Error struct{ Text string }

func (e *Error) Error() string { return e.Text }

// Reader reads one request. It reads ahead by at most one window.
type Reader struct {
	src      scanner
	limits   Limits
	inlined  inlined
	started  bool
	seen     bool // the member images has been read
	inImages bool // inside the images array
	count    int  // number of images so far
	custom   custom
	captions *bool
	err      error
}

// NewReader returns a Reader of the request in r. Next returns the errors of r, wrapped.
func NewReader(r io.Reader, l Limits) *Reader {
	return &Reader{src: scanner{r: r}, limits: l, inlined: inlined{buffer: buffer{limits: l}}}
}

// Next returns the next image. Its Data is valid until the next call and may be empty for an
// inline image. After the last image, once the whole body has been read and is valid, it
// returns io.EOF. It returns an *Error for an invalid request. After an error it always returns
// the same error.
func (r *Reader) Next() (intake.Source, error) {
	if r.err != nil {
		return intake.Source{}, r.err
	}
	img, err := r.next()
	if err != nil {
		r.err = err
		return intake.Source{}, err
	}
	return img, nil
}

func (r *Reader) next() (intake.Source, error) {
	if !r.started {
		r.started = true
		if err := r.src.byteOrderMark(); err != nil {
			return intake.Source{}, err
		}
		c, err := r.src.token()
		switch {
		case errors.Is(err, errEnd):
			return intake.Source{}, &Error{"Request body is empty"}
		case err != nil:
			return intake.Source{}, err
		case c != '{':
			return intake.Source{}, r.mismatch("Request body must be a JSON object")
		}
		r.src.next()
		if r.inImages, err = r.members(true); err != nil {
			return intake.Source{}, err
		}
	}
	if r.inImages {
		more, err := r.src.element(r.count == 0)
		switch {
		case err != nil:
			return intake.Source{}, err
		case more && r.count == r.limits.Images:
			return intake.Source{}, &Error{fmt.Sprintf("Too many images (>%d)", r.limits.Images)}
		case more:
			return r.image()
		}
		if r.inImages, err = r.members(false); err != nil {
			return intake.Source{}, err
		}
	}
	if r.count == 0 {
		return intake.Source{}, &Error{"No images provided"}
	}
	return intake.Source{}, io.EOF
}

// members reads the members of the request. It returns true at the first element of
// images, and false at the end of the body.
func (r *Reader) members(first bool) (bool, error) {
	for ; ; first = false {
		key, more, err := r.src.member(first)
		switch {
		case err != nil:
			return false, err
		case !more:
			return false, r.src.end()
		case key == "metadata":
			r.custom.metadata, err = r.metadata(key, 1)
		case key == "captions":
			r.captions, err = r.boolean(key)
		case key != "images":
			err = r.src.skip(1)
		case r.seen:
			err = &Error{`Duplicate member "images"`}
		default:
			r.seen = true
			var c byte
			switch c, err = r.src.token(); {
			case err != nil:
			case c == '[':
				r.src.next()
				return true, nil
			case c == 'n':
				err = r.src.literal("null")
			default:
				err = r.mismatch("images must be an array")
			}
		}
		if err != nil {
			return false, err
		}
	}
}

// image reads one element of images.
func (r *Reader) image() (intake.Source, error) {
	place := fmt.Sprintf("images[%d]", r.count)
	r.count++
	if c, err := r.src.token(); err != nil {
		return intake.Source{}, err
	} else if c != '{' {
		return intake.Source{}, r.mismatch(place + " must be an object")
	}
	r.src.next()
	var (
		img  intake.Source
		has  bool              // inline data
		data bool              // inline data as a URL
		bad  *pipeline.Failure // failure of the headers
		long *pipeline.Failure // failure of a URL or a name that is too long
		seen = map[string]bool{"url": false, "name": false, "base64": false}
	)
	for first := true; ; first = false {
		key, more, err := r.src.member(first)
		if err != nil {
			return intake.Source{}, err
		}
		if !more {
			break
		}
		if seen[key] {
			return intake.Source{}, &Error{fmt.Sprintf("Duplicate member %q: %s", key, place)}
		}
		if _, known := seen[key]; known {
			seen[key] = true
		}
		switch key {
		case "url":
			var whole bool
			if data, whole, err = r.url(place+".url", &img); !whole {
				long = intake.LongURL(MaxURLBytes)
			}
		case "name":
			var whole bool
			if img.Name, whole, err = r.text(place+".name", MaxNameBytes); !whole {
				long = intake.LongName(MaxNameBytes)
			}
		case "base64":
			has, err = r.inline(place+".base64", &img)
		case "headers":
			bad, err = r.headers(&img)
		case "custom_id":
			img.CustomID, err = r.customID(place+".custom_id", 3)
		default:
			err = r.src.skip(3)
		}
		if err != nil {
			return intake.Source{}, err
		}
	}
	switch {
	case (img.URL != "" || data) && has:
		return intake.Source{}, &Error{"Both URL and base64 provided: " + place}
	case img.URL == "" && !data && !has:
		return intake.Source{}, &Error{"Invalid image source (missing both URL and base64): " + place}
	case long != nil: // and what was cut must not be used
		img = intake.Source{Name: img.Name, CustomID: img.CustomID, Failure: long}
	case img.URL != "":
		img.Failure = bad
	}
	return img, nil
}

// text reads a string, or null as "". Of a string of more than limit bytes it returns the
// start, and false.
func (r *Reader) text(place string, limit int) (string, bool, error) {
	present, err := r.quoted(place)
	if err != nil || !present {
		return "", true, err
	}
	s, whole, err := r.src.text(limit, math.MaxInt)
	return strings.ToValidUTF8(s, ""), whole, err // the cut may have split a character
}

// quoted moves past the opening quote of a string. It returns false for null.
func (r *Reader) quoted(place string) (bool, error) {
	c, err := r.src.token()
	switch {
	case err != nil:
		return false, err
	case c == '"':
		r.src.next()
		return true, nil
	case c == 'n':
		return false, r.src.literal("null")
	}
	return false, r.mismatch(place + " must be a string")
}

// mismatch returns the error for a value of the wrong type or an invalid JSON value.
func (r *Reader) mismatch(text string) error {
	if c, err := r.src.token(); err != nil {
		return err
	} else if !startsValue(c) {
		return r.src.unexpected(c)
	}
	return &Error{text}
}
