package api

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/coding"
)

// largestBody returns the number of bytes of the largest batch. An image is base64 in lines
// of at least 64 digits (RFC 7468; RFC 2045 has 76), of which JSON may write every character
// as \u002B, in six bytes. Names, URLs and white space have 64 KiB in addition to each image.
func largestBody(images int, imageBytes int64) int64 {
	digits := (imageBytes + 2) / 3 * 4
	lineEnds := 2 * ((digits + 63) / 64)
	return int64(images) * (6*(digits+lineEnds) + 64<<10)
}

// codingOf returns the content coding of a request's body.
func codingOf(r *http.Request) (coding.Coding, error) {
	c, err := coding.Of(r.Header.Values("Content-Encoding"))
	if err != nil {
		return "", errCoding
	}
	return c, nil
}

// batchBody reads the decoded body of one request.
//
// The quota counts a byte that was compressed once it is decoded: what a batch costs does
// not depend on its coding. The fingerprint is that of the decoded bytes too, because a client
// that repeats a request may compress it differently.
type batchBody struct {
	in      *requestBody
	decoded io.ReadCloser
	limit   int64
	read    int64
	extra   int64     // bytes charged in addition to those of in
	sum     hash.Hash // fingerprint, or nil if none is needed
}

// newBatchBody returns a reader that takes the memory of its decoder from memory. The caller
// closes it.
func newBatchBody(in *requestBody, c coding.Coding, limit int64, memory *held, fingerprint bool) *batchBody {
	b := &batchBody{in: in, decoded: c.NewReader(in, memory.grow), limit: limit}
	if fingerprint {
		b.sum = sha256.New()
	}
	return b
}

func (b *batchBody) Read(p []byte) (int, error) {
	n, err := b.decoded.Read(p)
	b.read += int64(n)
	if over := b.read - b.limit; over > 0 {
		n, err = n-int(over), &http.MaxBytesError{Limit: b.limit}
		b.read = b.limit
	}
	if more := b.read - b.in.read - b.extra; more > 0 {
		b.extra += more
		b.in.charge(int(more))
	}
	if b.sum != nil {
		b.sum.Write(p[:n])
	}
	return n, err
}

// readSmallBody returns the decoded body of a request that is not for a batch. After an error, the caller ends the request
// with breakOff.
func (s *Server) readSmallBody(c echo.Context, in *requestBody) ([]byte, error) {
	encoded, err := codingOf(c.Request())
	if err != nil {
		return nil, err
	}
	memory, err := s.uploads.hold(detailsOf(c).by, window)
	if err != nil {
		return nil, err
	}
	defer memory.release()
	text := newBatchBody(in, encoded, smallBody, memory, false)
	data, err := io.ReadAll(text)
	return data, errors.Join(err, text.Close())
}

// Close frees the decoder.
func (b *batchBody) Close() error { return b.decoded.Close() }

// drain reads the body to its end.
func (b *batchBody) drain() error {
	_, err := io.Copy(io.Discard, b)
	return errors.Join(err, b.Close())
}

// fingerprint returns the SHA-256 of the bytes read, or "" if none is needed.
func (b *batchBody) fingerprint() string {
	if b.sum == nil {
		return ""
	}
	return fmt.Sprintf("%x", b.sum.Sum(nil))
}
