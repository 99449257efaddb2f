package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
)

// attackPaths asks for files by what is no name of a result. Refused is 404 or 400 in
// the documented shape.
func attackPaths(ctx context.Context, t *target, r *tally) {
	id, err := t.submit(ctx, inline(photograph))
	if err != nil {
		r.note("a job to attack", err)
		return
	}
	job := "/api/v1/batch/" + id
	var paths []string
	for _, up := range []string{
		"../", "..%2f", "%2e%2e/", "%2e%2e%2f", "%252e%252e%252f", "..%5c", "..\\", "..;/", ".%00./", "%c0%ae%c0%ae%c0%af", "%uff0e%uff0e/", "....//", "..%ef%bc%8f", "/", "%2f",
	} {
		far := strings.Repeat(up, 8)
		for _, base := range []string{"/", "/api/v1/batch/", job + "/", job + "/images/", job + "/images/0/", job + "/images/0/file/"} {
			paths = append(paths, base+far+"etc/passwd")
		}
	}
	for _, index := range []string{"-1", "1", "00", "0x0", "0.0", "1e0", "+0", "%20", "%30%00", "9999999999999999999999", "0;a=b", "*", "0%2ffile", "null", "٠"} {
		paths = append(paths, job+"/images/"+index+"/file")
	}
	for _, kind := range []string{"original", "file.bak", "file%00.json", "file/", "..", "%2e%2e%2f%2e%2e%2fjobs.db", "FILE", "metadata.json", ".git/config", "file;.jpg", "file%20"} {
		paths = append(paths, job+"/images/0/"+kind)
	}
	paths = append(paths, "/data/jobs.db", "/jobs.db", "/.env", "/.git/config", "/debug/pprof/", "/debug/vars", "/server-status", "/admin", "/api/v1/../../data/jobs.db", "/page/../api.go",
		"/app.js/..%2f..%2fapi.go", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/\\etc\\passwd", "/file:///etc/passwd", "/api/v1/batch/%00", "/api/v1/batch/"+id+"%00", "/api/v1/batch/"+id+"%0d%0aSet-Cookie:a=b")
	for _, path := range paths {
		a, err := t.raw(ctx, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		err = refused(a, err, http.StatusNotFound, http.StatusBadRequest)
		if err == nil && (bytes.Contains(a.body, []byte("root:")) || a.header.Get("Set-Cookie") != "") {
			err = fmt.Errorf("got %s with %v", a, a.header)
		}
		r.note(path, err)
	}
}

// attackGuesses asks for jobs by ids near one that there is, and by random ones.
// Refused is 404, everywhere the same.
func attackGuesses(ctx context.Context, t *target, r *tally) {
	j, err := t.process(ctx, inline(photograph))
	if err != nil {
		r.note("a job to guess", err)
		return
	}
	id := j.ID
	last := "0123456789abcdef"[(strings.IndexByte("0123456789abcdef", id[len(id)-1])+1)%16]
	guesses := []string{
		id[:len(id)-1] + string(last), strings.ToUpper(id), id[:len(id)-1], id + "0", strings.ReplaceAll(id, "-", ""), "{" + id + "}", "urn:uuid:" + id, "%20" + id, id + "%20", id[:8], id[:8] + "*", "*", "%25", "_",
		id[:35] + "_", id[:35] + "%25", "0", "1", "-1", "null", "undefined", "me", "all", "latest", "'%20OR%20'1'='1", id + "'--", id + "%00", id + "," + id, j.Images[0].TraceID, nobody, "00000000-0000-0000-0000-000000000000",
		"ffffffff-ffff-ffff-ffff-ffffffffffff", "$ne", "..", id + "/..", "[object%20Object]",
	}
	for range 50 {
		var b [16]byte
		_, _ = rand.Read(b[:]) // never fails
		b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
		guesses = append(guesses, fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
	}
	for _, guess := range guesses {
		for _, rest := range []string{"", "/images/0/file", "/images/0/metadata", "/ws"} {
			a, err := t.raw(ctx, "GET /api/v1/batch/"+guess+rest+" HTTP/1.1\r\nHost: x\r\n"+handshake+"\r\n")
			r.note("GET "+guess+rest, refused(a, err, http.StatusNotFound))
		}
		for _, rest := range []string{"/cancel", "/retry"} {
			a, err := t.raw(ctx, "POST /api/v1/batch/"+guess+rest+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
			r.note("POST "+guess+rest, refused(a, err, http.StatusNotFound))
		}
	}
	for _, query := range []string{"limit=-1", "limit=0", "limit=1e9", "limit=99999999999999999999", "page_token=x", "page_token=..%2f..", "page_token=%00", "page_token=" + id, "page_token=eyJpZCI6MX0", "limit=1&page_token=%27", "limit=1;DROP"} {
		a, err := t.do(ctx, http.MethodGet, "/api/v1/batch?"+query, nil)
		r.note("GET ?"+query, refused(a, err, http.StatusBadRequest))
	}
}
