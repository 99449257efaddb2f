package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	nobody = "550e8400-e29b-41d4-a716-446655440000" // a job that there is not
	// smuggled is what is hidden behind a request for a proxy to take for another
	// client's. An answer to it is the proof that it came through.
	smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
)

// attackSmuggling sends requests that two readers read differently. Refused is: 400
// or 501 in the documented shape and the end of the connection, or, where the
// standard lets a reader choose, one answer and the end of the connection.
func attackSmuggling(ctx context.Context, t *target, r *tally) {
	chunks := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(honest), honest)
	post := func(header, body string) string {
		return "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\n" + header + "\r\n\r\n" + body + smuggled
	}
	get := func(header string) string {
		return "GET /healthz HTTP/1.1\r\nHost: x\r\n" + header + "\r\n\r\n" + smuggled
	}
	for name, request := range map[string]string{
		"length and chunks":        post("Content-Length: 5\r\nTransfer-Encoding: chunked", chunks),
		"chunks and length":        post("Transfer-Encoding: chunked\r\nContent-Length: 5", chunks),
		"length and chunks of GET": "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
		"folded chunks":            post("Content-Length: 5\r\nTransfer-Encoding:\r\n chunked", chunks),
		"chunks in capitals":       post("Content-Length: 5\r\nTRANSFER-ENCODING: CHUNKED", chunks),
		"tab before chunked":       post("Content-Length: 5\r\nTransfer-Encoding:\tchunked", chunks),
	} {
		r.try(name, func() error { return t.once(ctx, request) })
	}
	for name, request := range map[string]string{
		"two lengths":              post("Content-Length: 5\r\nContent-Length: 6", "123456"),
		"a list of lengths":        post("Content-Length: 5, 6", "123456"),
		"length with a plus":       post("Content-Length: +5", "12345"),
		"negative length":          post("Content-Length: -5", "12345"),
		"hexadecimal length":       post("Content-Length: 0x5", "12345"),
		"length past 64 bits":      post("Content-Length: 18446744073709551621", "12345"),
		"length of a word":         post("Content-Length: five", "12345"),
		"chunked, identity":        post("Transfer-Encoding: chunked, identity", chunks),
		"identity, chunked":        post("Transfer-Encoding: identity, chunked", chunks),
		"gzip, chunked":            post("Transfer-Encoding: gzip, chunked", chunks),
		"xchunked":                 post("Transfer-Encoding: xchunked", chunks),
		"quoted chunked":           post(`Transfer-Encoding: "chunked"`, chunks),
		"chunked twice":            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunks),
		"chunked and cow":          post("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow", chunks),
		"vertical tab":             post("Transfer-Encoding: \x0bchunked", chunks),
		"space before colon":       get("Content-Length : 5"),
		"space before chunks":      post("Transfer-Encoding : chunked", chunks),
		"space before name":        "GET /healthz HTTP/1.1\r\n Host: x\r\n\r\n" + smuggled,
		"NUL in a value":           get("X: a\x00b"),
		"NUL in a name":            get("X\x00: a"),
		"carriage return alone":    get("X: a\rY: b"),
		"no colon":                 get("X"),
		"empty name":               get(": x"),
		"name with a slash":        get("X/Y: x"),
		"name of Unicode":          get("Ключ: x"),
		"negative chunk":           post("Transfer-Encoding: chunked", "-5\r\nabcde\r\n0\r\n\r\n"),
		"chunk past 64 bits":       post("Transfer-Encoding: chunked", "fffffffffffffffff\r\nabcde"),
		"chunk with a plus":        post("Transfer-Encoding: chunked", "+5\r\nabcde\r\n0\r\n\r\n"),
		"chunk with 0x":            post("Transfer-Encoding: chunked", "0x5\r\nabcde\r\n0\r\n\r\n"),
		"chunk without a size":     post("Transfer-Encoding: chunked", "\r\nabcde\r\n0\r\n\r\n"),
		"chunk longer than said":   post("Transfer-Encoding: chunked", "1\r\n{}\r\n0\r\n\r\n"),
		"endless chunk extension":  post("Transfer-Encoding: chunked", "1;"+strings.Repeat("x", 100_000)+"\r\n{\r\n0\r\n\r\n"),
		"chunks of HTTP/1.0":       "POST /api/v1/batch HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + smuggled,
		"version with a space":     "GET /healthz HTTP/1.1 \r\nHost: x\r\n\r\n" + smuggled,
		"version of four":          "GET /healthz HTTP/4.2\r\nHost: x\r\n\r\n" + smuggled,
		"no version":               "GET /healthz\r\nHost: x\r\n\r\n" + smuggled,
		"line break in an address": "GET /healthz\nX: y HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled,
		"NUL in an address":        "GET /health\x00z HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled,
		"space in an address":      "GET /health z HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled,
		"no HTTP":                  "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
		"NUL bytes":                strings.Repeat("\x00", 1000) + "\r\n\r\n",
	} {
		r.try(name, func() error {
			return t.once(ctx, request, http.StatusBadRequest, http.StatusNotImplemented, http.StatusHTTPVersionNotSupported)
		})
	}
}

// once sends a request with another behind it, and holds that there is one answer
// and then the end of the connection. With statuses the answer is a refusal.
func (t *target) once(ctx context.Context, request string, statuses ...int) error {
	conn, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	a, err := read(resp)
	if err != nil {
		return err
	}
	if len(statuses) > 0 {
		if err := refused(a, nil, statuses...); err != nil {
			return err
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return fmt.Errorf("bound read: %w", err)
	}
	if rest, err := io.ReadAll(in); len(rest) > 0 {
		return fmt.Errorf("after %s there was another answer: %.100q", a, rest)
	} else if timeout(err) {
		return fmt.Errorf("after %s the connection stayed open", a)
	}
	return nil
}

// timeout reports whether a connection stayed open; one that was reset is as good
// as closed.
func timeout(err error) bool {
	var late interface{ Timeout() bool }
	return errors.As(err, &late) && late.Timeout()
}

// attackMethods asks for what an address does not do. Refused is 405, or 404 where
// the router knows no such method, and never a change.
func attackMethods(ctx context.Context, t *target, r *tally) {
	id, err := t.submit(ctx, inline(photograph))
	if err != nil {
		r.note("a job to attack", err)
		return
	}
	job := "/api/v1/batch/" + id
	allowed := map[string][]string{
		"/api/v1/batch": {"GET", "HEAD", "POST"}, job: {"GET", "HEAD"}, job + "/cancel": {"POST"}, job + "/retry": {"POST"}, job + "/ws": {"GET", "HEAD"},
		job + "/images/0/file": {"GET", "HEAD"}, job + "/images/0/metadata": {"GET", "HEAD"}, job + "/images/0/thumbnail": {"GET", "HEAD"}, "/": {"GET", "HEAD"},
	}
	for path, methods := range allowed {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "MOVE", "DEBUG", "get", "Post", "BREW"} {
			if slices.Contains(methods, method) {
				continue
			}
			a, err := t.raw(ctx, method+" "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
			r.note(method+" "+path, refused(a, err, http.StatusMethodNotAllowed, http.StatusNotFound))
		}
	}
	for _, header := range []string{"X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"} {
		a, err := t.do(ctx, http.MethodPost, job, strings.NewReader("_method=DELETE"), header, "DELETE")
		r.note(header, refused(a, err, http.StatusMethodNotAllowed))
	}
	a, err := t.do(ctx, http.MethodGet, job, nil)
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("the job is %s", a)
	}
	r.note("the job is still there", err)
}

// attackSlowly holds connections open with as little as it takes, six kinds at a
// time. Refused is: honest requests are answered meanwhile, and each connection is
// ended, a body with 408.
func attackSlowly(ctx context.Context, t *target, r *tally) {
	const each = 100
	for name, c := range map[string]struct {
		begin, drop string
		statuses    []int // nil: it is enough that the connection ends
	}{
		"silent":       {},
		"slow line":    {begin: "GET /", drop: "x"},
		"slow header":  {begin: "GET / HTTP/1.1\r\nHost: x\r\n", drop: "X: x\r\n"},
		"slow body":    {begin: "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{", drop: " ", statuses: []int{http.StatusRequestTimeout, http.StatusServiceUnavailable}},
		"slow chunks":  {begin: "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", drop: "1\r\n \r\n", statuses: []int{http.StatusRequestTimeout, http.StatusServiceUnavailable}},
		"silent chunk": {begin: "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", statuses: []int{http.StatusRequestTimeout, http.StatusServiceUnavailable}},
	} {
		for range each {
			r.try(name, func() error { return t.drip(ctx, c.begin, c.drop, c.statuses) })
		}
	}
	// Some of these run before all connections stand, and the rest while they do.
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 50 {
		began := time.Now()
		a, err := t.do(ctx, http.MethodGet, "/api/v1/batch?limit=1", nil)
		if took := time.Since(began); err == nil && (a.status != http.StatusOK || took > 5*time.Second) {
			err = fmt.Errorf("%s after %s", a, took)
		}
		r.note("an honest request meanwhile", err)
		<-tick.C
	}
}

// drip sends begin and then drop every second until the connection is ended.
func (t *target) drip(ctx context.Context, begin, drop string, statuses []int) error {
	conn, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, begin); err != nil {
		return nil //nolint:nilerr // Ended already.
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(done)
	wg.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if _, err := io.WriteString(conn, drop); err != nil {
					return
				}
			case <-done:
				return
			}
		}
	})
	in := bufio.NewReader(conn)
	if statuses != nil {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		a, err := read(resp)
		return refused(a, err, statuses...)
	}
	if _, err := io.Copy(io.Discard, in); timeout(err) {
		return errors.New("the connection was not ended")
	}
	return nil
}
