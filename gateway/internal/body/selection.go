package body

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// ReadSelection reads the body of a request that selects images of a job,
// {"images": [0, 3], "captions": true}. It returns the indexes in their order, or nil if the body is
// empty or has no images: the request is then for all of them; and the member captions, or nil. The indexes are unique, and at most
// most in number; the job may have fewer images. ReadSelection returns an *Error for an invalid
// request, and the errors of r, wrapped. Of several such members the last one counts.
func ReadSelection(in io.Reader, most int) (images []int, captions *bool, err error) {
	r := &Reader{src: scanner{r: in}}
	if err := r.src.byteOrderMark(); err != nil {
		return nil, nil, err
	}
	switch c, err := r.src.token(); {
	case errors.Is(err, errEnd):
		return nil, nil, nil
	case err != nil:
		return nil, nil, err
	case c != '{':
		return nil, nil, r.mismatch("Request body must be a JSON object")
	}
	r.src.next()
	for first := true; ; first = false {
		key, more, err := r.src.member(first)
		switch {
		case err != nil:
			return nil, nil, err
		case !more:
			return images, captions, r.src.end()
		case key == "images":
			images, err = r.indexes(most)
		case key == "captions":
			captions, err = r.boolean("captions")
		default:
			err = r.src.skip(1)
		}
		if err != nil {
			return nil, nil, err
		}
	}
}

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
