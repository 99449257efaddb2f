package body

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"unicode/utf8"

	"github.com/imagebatch/imagebatch/gateway/internal/intake"
)

// Limits of a form. RFC 2046, section 5.1.1, limits the boundary to the same length.
const (
	maxBoundary = 70
	maxHeader   = 16 << 10 // bytes of the header of one part, and of what precedes the first
)

// Boundary returns the boundary of a multipart/form-data body. It reports false for any other
// media type, and returns an *Error for a form without a valid boundary.
func Boundary(contentType string) (boundary string, isForm bool, err error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if kind == "" { // ParseMediaType does not return a type with invalid parameters
		kind, _, _ = strings.Cut(contentType, ";")
		kind = strings.ToLower(strings.TrimSpace(kind))
	}
	if kind != "multipart/form-data" {
		return "", false, nil
	}
	boundary = params["boundary"]
	if err != nil || boundary == "" || len(boundary) > maxBoundary {
		return "", true, &Error{"Invalid form: Content-Type must have a boundary of 1 to 70 characters"}
	}
	return boundary, true, nil
}

// Form reads a batch that was sent as a form (RFC 7578), part by part. The parts named image and
// url are the images, in their order: the content of a file, whose filename becomes the name,
// or the text of a URL. An optional first part named options is a JSON object, with what the parts of
// images have no room for.
//
// It guarantees what [Reader] guarantees for JSON: it holds one image at most, and an image that
// is too large, or a URL that is too long, is read to its end and fails only itself. A field
// that a browser sends without a file, and an empty URL, are no images.
type Form struct {
	source  *headerLimit
	parts   *multipart.Reader
	limits  Limits
	inlined inlined
	piece   []byte    // for reading what is not kept
	sum     hash.Hash // fingerprint; nil if none is needed
	skip    bool      // no image is kept
	options options
	count   int  // images so far
	any     bool // a part has been read
	err     error
}

// NewForm returns a Form that reads from r, and computes its fingerprint if asked to. Next
// returns the errors of r, wrapped.
func NewForm(r io.Reader, boundary string, l Limits, fingerprint bool) *Form {
	source := &headerLimit{in: r}
	f := &Form{source: source, parts: multipart.NewReader(source, boundary), limits: l, inlined: inlined{buffer: buffer{limits: l}}, piece: make([]byte, 16<<10)}
	if fingerprint {
		f.sum = sha256.New()
		f.add([]byte("multipart/form-data"))
	}
	return f
}

// Next returns the next image, like [Reader.Next].
func (f *Form) Next() (intake.Source, error) {
	for f.err == nil {
		img, isImage, err := f.part()
		if err != nil {
			f.err = err
		} else if isImage {
			return img, nil
		}
	}
	return intake.Source{}, f.err
}

// Drain reads the rest of the form without keeping any image, for its fingerprint.
func (f *Form) Drain() error {
	f.skip = true
	for {
		if _, err := f.Next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// Fingerprint returns the SHA-256 of the parts, in hexadecimal, or "" if none is needed. It covers
// their names, file names and contents, but not the boundary, which differs each time. It
// is complete once Next has returned io.EOF.
func (f *Form) Fingerprint() string {
	if f.sum == nil {
		return ""
	}
	return fmt.Sprintf("%x", f.sum.Sum(nil))
}

// part reads one part. It reports whether that was an image.
func (f *Form) part() (img intake.Source, isImage bool, err error) {
	f.source.left = maxHeader
	part, err := f.parts.NextPart()
	f.source.left = -1
	switch {
	case err == io.EOF: //nolint:errorlint // It is wrapped if the last boundary is missing.
		return img, false, f.end()
	case err != nil:
		return img, false, f.invalid(err)
	}
	first, in := !f.any, f.open(part)
	f.any = true
	switch name := part.FormName(); {
	case name == "options" && first:
		err = f.readOptions(in)
	case name == "options":
		err = &Error{"options must be the first part"}
	case name != "image" && name != "url":
		err = &Error{fmt.Sprintf("Unknown part: %q (want image, url or options)", cut(name))}
	case f.count == f.limits.Images: // the rest of the parts must be empty
		if n, _ := io.ReadFull(in, f.piece[:1]); n > 0 || part.FileName() != "" {
			err = &Error{fmt.Sprintf("Too many images (>%d)", f.limits.Images)}
		}
	case name == "url":
		img, isImage, err = f.url(in)
	default:
		img, isImage, err = f.file(in)
	}
	if err == nil {
		err = f.finish(in)
	}
	if err != nil || !isImage {
		return intake.Source{}, false, err
	}
	f.options.apply(&img, f.count)
	f.count++
	if img.Name = strings.ToValidUTF8(part.FileName(), "\uFFFD"); len(img.Name) > MaxNameBytes {
		img = intake.Source{Name: strings.ToValidUTF8(img.Name[:MaxNameBytes], ""), CustomID: img.CustomID, Failure: intake.LongName(MaxNameBytes)}
	}
	return img, true, nil
}

// end ends the form after its last boundary. The rest of the body belongs to no part (RFC
// 2046, section 5.1.1) and is discarded.
func (f *Form) end() error {
	if f.count == 0 {
		return &Error{"No images provided"}
	}
	if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{f.source}, f.piece); err != nil {
		return f.invalid(err)
	}
	f.options.end(f.count)
	return io.EOF
}

// file reads an image. Its media type is ignored, like that of a data URL.
func (f *Form) file(in *content) (img intake.Source, isImage bool, err error) {
	f.inlined.reset()
	for img.Failure == nil && err == nil {
		var n int
		if n, err = in.Read(f.piece); f.skip {
			continue
		}
		var full error
		if img.Failure, full = f.inlined.write(f.piece[:n]); full != nil {
			return img, false, full
		}
	}
	if img.Failure == nil {
		img.Data = f.inlined.data
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return img, in.size > 0 || in.part.FileName() != "", err
}

// url reads a URL. A data URL is the image itself.
func (f *Form) url(in *content) (img intake.Source, isImage bool, err error) {
	start, err := io.ReadAll(io.LimitReader(in, MaxURLBytes+1))
	if err != nil {
		return img, false, err
	}
	text := bytes.TrimSpace(start)
	switch {
	case len(start) <= MaxURLBytes && !utf8.Valid(text):
		err = &Error{"url is not valid UTF-8"}
	case f.skip:
	case len(text) >= len(scheme) && strings.EqualFold(string(text[:len(scheme)]), scheme):
		img.Failure, err = f.inlined.decode(spaceless{io.MultiReader(bytes.NewReader(start), in)}, true)
		if img.Failure == nil {
			img.Data = f.inlined.data
		}
	case len(start) > MaxURLBytes: // and what was cut must not be used
		img.Failure = intake.LongURL(MaxURLBytes)
	default:
		img.URL = string(text)
	}
	return img, len(text) > 0 || len(start) > MaxURLBytes, err
}

// add adds texts to the fingerprint, each after its length.
func (f *Form) add(texts ...[]byte) {
	if f.sum == nil {
		return
	}
	for _, text := range texts {
		f.sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(text))))
		f.sum.Write(text)
	}
}

// invalid returns the error of the body, or the error of a malformed form.
func (f *Form) invalid(err error) error {
	switch {
	case f.source.err != nil:
		return f.source.err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{"Invalid form: the last boundary is missing"}
	}
	return &Error{"Invalid form: malformed header of a part"}
}

// cut limits a text from a client that becomes part of an error.
func cut(text string) string {
	const most = 64
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
