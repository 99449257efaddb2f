package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
)

// Result is what a job found out about one image.
type Result struct {
	Index            int             `json:"index"`
	CustomID         string          `json:"custom_id,omitempty"`
	OriginalFilename string          `json:"original_filename"`
	Status           Status          `json:"status"`
	Metadata         json.RawMessage `json:"metadata,omitempty"` // the record, which docs/metadata.md describes
	Error            string          `json:"error,omitempty"`
	ErrorCode        string          `json:"error_code,omitempty"` // without it, a completed image whose record is no longer kept
}

// maxLine is the maximum size of a line of results.jsonl. A record has at most 4 MiB.
const maxLine = 5 << 20

// Results returns an iterator over the results of a job that has ended, in the order of its
// images. If the connection breaks, it continues with the next line. If lines are missing in
// the end, the last error is [ErrTruncated]. For an open job, the error is an *Error with the status
// 409.
func (c *Client) Results(ctx context.Context, id string) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		job, err := c.Job(ctx, id)
		if err != nil {
			yield(Result{}, err)
			return
		}
		for done, failed := 0, 0; ; {
			before := done
			more, err := c.results(ctx, job, &done, func(r Result) bool { return yield(r, nil) })
			if !more {
				return
			}
			if done > before {
				failed = 0
			}
			if failed++; errors.Is(err, ErrTruncated) {
				err = c.pause(ctx, err, failed)
			}
			if err != nil {
				yield(Result{}, err)
				return
			}
		}
	}
}

// results requests the results and yields those after the first done. It reports whether the
// iteration continues: with an error, or with another request.
func (c *Client) results(ctx context.Context, job Job, done *int, yield func(Result) bool) (more bool, err error) {
	resp, _, err := c.do(ctx, request{method: http.MethodGet, path: []string{"batch", job.ID, "results.jsonl"}})
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	lines := lineReader{in: bufio.NewReaderSize(resp.Body, 32<<10), limit: maxLine}
	for i := range job.Total {
		line, err := lines.next()
		if errors.Is(err, errLongLine) {
			return true, err
		}
		if err != nil { // a last line without a line feed is incomplete, too
			return true, fmt.Errorf("%w: it has %d of %d lines: %w", ErrTruncated, i, job.Total, noEOF(err))
		}
		if i < *done {
			continue
		}
		var r Result
		if err := json.Unmarshal(line, &r); err != nil {
			return true, fmt.Errorf("line %d of the results: %w", i+1, err)
		}
		if r.Index != i {
			return true, fmt.Errorf("line %d of the results has the index %d", i+1, r.Index)
		}
		*done++
		if !yield(r) {
			return false, nil
		}
	}
	return false, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

var errLongLine = errors.New("response has a line that is too long")

// lineReader reads lines that end with LF or CRLF, up to a limit.
type lineReader struct {
	in    *bufio.Reader
	limit int
	line  []byte
}

// next returns a line without its end. It is valid until the next call.
func (l *lineReader) next() ([]byte, error) {
	l.line = l.line[:0]
	for {
		piece, err := l.in.ReadSlice('\n')
		if len(l.line)+len(piece) > l.limit {
			return nil, errLongLine
		}
		l.line = append(l.line, piece...)
		if err == nil {
			return bytes.TrimSuffix(l.line[:len(l.line)-1], []byte("\r")), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

// ZipOptions select what [Client.Zip] returns.
type ZipOptions struct {
	Include       []Kind // of each image; the default is ProcessedFile and Record
	CustomIDPaths bool   // the paths in the archive are the custom IDs of the images
}

// Zip writes the objects of a job that has ended to w, as a ZIP file, and returns its size. A
// broken connection is not continued: after an error, w has an incomplete file.
func (c *Client) Zip(ctx context.Context, id string, w io.Writer, options ZipOptions) (int64, error) {
	query := url.Values{}
	if len(options.Include) > 0 {
		kinds := make([]string, len(options.Include))
		for i, k := range options.Include {
			kinds[i] = string(k)
		}
		query.Set("include", strings.Join(kinds, ","))
	}
	if options.CustomIDPaths {
		query.Set("paths", "custom_id")
	}
	resp, _, err := c.do(ctx, request{method: http.MethodGet, path: []string{"batch", id, "results.zip"}, query: query})
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var end tail
	n, err := io.Copy(io.MultiWriter(w, &end), resp.Body)
	if err != nil {
		return n, fmt.Errorf("download results.zip: %w", err)
	}
	// A proxy may hide that the gateway broke the connection. The last record of an archive starts so.
	if !bytes.HasPrefix(end.last, []byte("PK\x05\x06")) {
		return n, fmt.Errorf("download results.zip: %w", ErrTruncated)
	}
	return n, nil
}

// tail keeps the last 22 bytes, which is the size of the last record of a ZIP file.
type tail struct{ last []byte }

func (t *tail) Write(p []byte) (int, error) {
	const size = 22
	if len(p) >= size {
		t.last = append(t.last[:0], p[len(p)-size:]...)
	} else {
		t.last = append(t.last, p...)
		t.last = t.last[max(0, len(t.last)-size):]
	}
	return len(p), nil
}
