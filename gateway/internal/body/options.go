package body

import (
	"errors"
	"fmt"

	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// options are the options of a form,
// {"custom_ids": ["…", …], "metadata": {…}, "headers": [{…}, …], "captions": …}. The elements of an array belong
// to the images by their position. Unknown options are ignored, like unknown members of the JSON
// body.
type options struct {
	custom   custom
	captions *bool
	ids      []string
	headers  []headers
	bad      *pipeline.Failure // of every image with a URL: there may be headers for it, which cannot be read

	idCount, headerCount int // elements of the arrays, of which only those that an image can have are kept
}

// headers are the headers for the URL of one image.
type headers struct {
	fields  map[string]string
	failure *pipeline.Failure
}

// Metadata does what [Reader.Metadata] does.
func (f *Form) Metadata() map[string]string { return f.options.custom.metadata }

// Warnings does what [Reader.Warnings] does.
func (f *Form) Warnings() []string { return f.options.custom.all() }

// Captions does what [Reader.Captions] does.
func (f *Form) Captions() *bool { return f.options.captions }

// readOptions reads the options through a window, like a JSON body.
func (f *Form) readOptions(in *content) error {
	r := &Reader{src: scanner{r: in, window: f.piece[:0]}}
	err := f.options.read(r, f.limits.Images)
	f.options.custom = r.custom
	if in.err != nil { // the scanner has wrapped it
		return in.err
	}
	if e, ok := errors.AsType[*Error](err); ok && e != errNoObject {
		return &Error{"options: " + e.Text}
	}
	return err
}

var errNoObject = &Error{"options must be a JSON object"}

func (o *options) read(r *Reader, images int) error {
	err := r.src.byteOrderMark()
	if err != nil {
		return err
	}
	switch c, err := r.src.token(); {
	case err == nil && c == '{':
		r.src.next()
	case err == nil || errors.Is(err, errEnd):
		return errNoObject
	default:
		return err
	}
	for first := true; ; first = false {
		key, more, err := r.src.member(first)
		switch {
		case err != nil:
			return err
		case !more:
			return r.src.end()
		case key == "metadata":
			r.custom.metadata, err = r.metadata("options.metadata", 1)
		case key == "captions":
			o.captions, err = r.boolean(key)
		case key == "custom_ids":
			err = o.readIDs(r, images)
		case key == "headers":
			err = o.readHeaders(r, images)
		default:
			err = r.src.skip(1)
		}
		if err != nil {
			return err
		}
	}
}

// readIDs reads the array custom_ids. Of several such members the last one counts.
func (o *options) readIDs(r *Reader, images int) error {
	o.ids = nil
	kind, count, err := r.elements(images, func(i int) error {
		id, err := r.customID(fmt.Sprintf("options.custom_ids[%d]", i), 2)
		o.ids = append(o.ids, id)
		return err
	})
	if kind == wrong && err == nil {
		r.custom.ignored("options.custom_ids", "it must be an array of strings")
	}
	o.idCount = count
	return err
}

// readHeaders reads the array headers. Of several such members the last one counts.
func (o *options) readHeaders(r *Reader, images int) error {
	o.headers, o.bad = nil, nil
	kind, count, err := r.elements(images, func(int) error {
		var img intake.Source
		failure, err := r.headers(&img)
		o.headers = append(o.headers, headers{img.Headers, failure})
		return err
	})
	if kind == wrong {
		o.bad = intake.InvalidHeaders()
	}
	o.headerCount = count
	return err
}

// elements reads an array of the options. It calls read at each element that an image can have,
// and skips the rest.
func (r *Reader) elements(images int, read func(i int) error) (kind, count int, err error) {
	kind, err = r.enter('[', 1)
	if err != nil || kind != entered {
		return kind, 0, err
	}
	for ; ; count++ {
		more, err := r.src.element(count == 0)
		switch {
		case err != nil || !more:
			return kind, count, err
		case count < images:
			err = read(count)
		default:
			err = r.src.skip(2)
		}
		if err != nil {
			return kind, count, err
		}
	}
}

// apply adds to an image what the options have at its index.
func (o *options) apply(img *intake.Source, index int) {
	if index < len(o.ids) {
		img.CustomID = o.ids[index]
	}
	if img.URL == "" {
		return
	}
	img.Failure = o.bad
	if index < len(o.headers) {
		img.Headers, img.Failure = o.headers[index].fields, o.headers[index].failure
	}
}

// end warns of elements for which there is no image.
func (o *options) end(images int) {
	if o.idCount > images {
		o.custom.ignored(fmt.Sprintf("options.custom_ids from [%d] on", images), fmt.Sprintf("there are %d images", images))
	}
	if o.headerCount > images {
		o.custom.ignored(fmt.Sprintf("options.headers from [%d] on", images), fmt.Sprintf("there are %d images", images))
	}
}
