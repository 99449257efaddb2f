package body

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// Selection is a request that selects images of a job.
type Selection struct {
	Images         []int // unique indexes in their order; nil: all images
	Captions       *bool // the member captions, if there is one
	RemoveCaptions *bool // likewise
}

// ReadSelection reads the body of a request that selects images of a job,
// {"images": [0, 3], "captions": true}, or {"remove_captions": true}. An empty body selects all images. There are at most
// most indexes; the job may have fewer images. ReadSelection returns an *Error for an invalid
// request, and the errors of r, wrapped. Of several such members the last one counts.
func ReadSelection(in io.Reader, most int) (s Selection, err error) {
	r := &Reader{src: scanner{r: in}}
	if err := r.src.byteOrderMark(); err != nil {
		return s, err
	}
	switch c, err := r.src.token(); {
	case errors.Is(err, errEnd):
		return s, nil
	case err != nil:
		return s, err
	case c != '{':
		return s, r.mismatch("Request body must be a JSON object")
	}
	r.src.next()
	for first := true; ; first = false {
		key, more, err := r.src.member(first)
		switch {
		case err != nil:
			return s, err
		case !more:
			if isTrue(s.Captions) && isTrue(s.RemoveCaptions) {
				return s, &Error{"captions must not be true with remove_captions"}
			}
			return s, r.src.end()
		case key == "images":
			s.Images, err = r.indexes(most)
		case key == "captions":
			s.Captions, err = r.boolean(key)
		case key == "remove_captions":
			s.RemoveCaptions, err = r.boolean(key)
		default:
			err = r.src.skip(1)
		}
		if err != nil {
			return s, err
		}
	}
}

func isTrue(b *bool) bool { return b != nil && *b }

// indexes reads the array images, or null or "" as nil.
func (r *Reader) indexes(most int) ([]int, error) {
	var images []int
	kind, count, err := r.elements(most, func(i int) error {
		index, err := r.index()
		switch {
		case err != nil:
			return err
		case index < 0:
			return &Error{fmt.Sprintf("images[%d] must be the index of an image, such as 0", i)}
		case slices.Contains(images, index):
			return &Error{fmt.Sprintf("images[%d] must not repeat the index %d", i, index)}
		}
		images = append(images, index)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case kind == wrong:
		return nil, &Error{"images must be an array of indexes"}
	case kind == entered && count == 0:
		return nil, &Error{"images must not be empty"}
	case count > most:
		return nil, &Error{fmt.Sprintf("Too many images (>%d)", most)}
	}
	return images, nil
}

// index reads a value, and returns -1 for any value except a non-negative integer in its plain form.
func (r *Reader) index() (int, error) {
	c, err := r.src.token()
	if err != nil {
		return 0, err
	}
	if c != '-' && (c < '0' || c > '9') {
		return -1, r.src.skip(2)
	}
	text, err := r.src.number()
	n, invalid := strconv.Atoi(text)
	if invalid != nil || strconv.Itoa(n) != text {
		n = -1
	}
	return n, err
}

// boolean reads true or false, or null as nil.
func (r *Reader) boolean(name string) (*bool, error) {
	c, err := r.src.token()
	if err != nil {
		return nil, err
	}
	if c != 't' && c != 'f' && c != 'n' {
		return nil, r.mismatch(name + " must be true or false")
	}
	if err := r.src.skip(1); err != nil || c == 'n' {
		return nil, err
	}
	value := c == 't'
	return &value, nil
}
