package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf16"
)

const honest = `{"images":[{"url":"http://10.0.0.1/a.jpg"}]}`

// bodies are what is no batch, whatever its Content-Type says.
func bodies() map[string]string {
	of := func(image string) string { return `{"images":[` + image + `]}` }
	deep := func(open, end string, n int) string { return strings.Repeat(open, n) + strings.Repeat(end, n) }
	return map[string]string{
		"empty": "", "white space": " \r\n\t ", "null": "null", "a number": "1", "a string": `"images"`, "an array": `[{"url":"http://10.0.0.1/"}]`,
		"no images": "{}", "empty images": `{"images":[]}`, "images null": `{"images":null}`, "images a string": `{"images":"x"}`, "images an object": `{"images":{"0":{"url":"x"}}}`,
		"images a number": `{"images":1e999}`, "image null": of("null"), "image a string": of(`"http://10.0.0.1/"`), "image an array": of(`[]`), "image empty": of(`{}`), "image true": of("true"),
		"both sources": of(`{"url":"http://10.0.0.1/","base64":"AAAA"}`), "URL a number": of(`{"url":1}`), "URL an object": of(`{"url":{"$ne":null}}`), "URL an array": of(`{"url":["http://10.0.0.1/"]}`),
		"name a number": of(`{"url":"http://10.0.0.1/","name":1}`), "base64 an array": of(`{"base64":[65]}`), "base64 true": of(`{"base64":true}`), "URL in another case": of(`{"URL":"http://10.0.0.1/"}`),
		"images in another case": `{"Images":[{"url":"http://10.0.0.1/"}]}`, "images twice": `{"images":[{"url":"http://10.0.0.1/"}],"images":[{"url":"http://10.0.0.2/"}]}`,
		"images twice, escaped": `{"images":[{"url":"http://10.0.0.1/"}],"\u0069mages":[]}`, "URL twice": of(`{"url":"http://10.0.0.1/","url":"http://10.0.0.2/"}`),
		"URL twice, escaped": of(`{"url":"http://10.0.0.1/","\u0075rl":"http://10.0.0.2/"}`), "name twice": of(`{"url":"http://10.0.0.1/","name":"a","name":"b"}`),
		"base64 twice": of(`{"base64":"AAAA","base64":"AAAA"}`), "trailing object": honest + honest, "trailing brace": honest + "}", "trailing word": honest + " x", "trailing NUL": honest + "\x00",
		"leading BOM": "\xef\xbb\xbf" + honest, "leading guard": ")]}'," + honest, "truncated": honest[:len(honest)-1], "truncated in a string": honest[:20], "truncated in an escape": of(`{"url":"\u00`),
		"trailing comma": of(`{"url":"http://10.0.0.1/",}`), "trailing comma of images": of(`{"url":"http://10.0.0.1/"},`), "comment": "/* x */" + honest, "line comment": "// x\n" + honest,
		"single quotes": strings.ReplaceAll(honest, `"`, "'"), "bare names": `{images:[{url:"http://10.0.0.1/"}]}`, "NaN": `{"x":NaN,` + honest[1:], "Infinity": `{"x":-Infinity,` + honest[1:],
		"hexadecimal": `{"x":0x10,` + honest[1:], "leading zero": `{"x":01,` + honest[1:], "plus": `{"x":+1,` + honest[1:], "lone minus": `{"x":-,` + honest[1:], "dot alone": `{"x":1.,` + honest[1:],
		"bad escape": of(`{"url":"http://10.0.0.1/\x41"}`), "bad Unicode escape": of(`{"url":"http://10.0.0.1/\uZZZZ"}`), "raw line break": of("{\"url\":\"http://10.0.0.1/\n\"}"), "raw NUL": of("{\"url\":\"http://10.0.0.1/\x00\"}"),
		"bad UTF-8": of("{\"url\":\"http://10.0.0.1/\xff\"}"), "overlong UTF-8": of("{\"name\":\"\xc0\xaf\",\"url\":\"http://10.0.0.1/\"}"), "surrogate in UTF-8": of("{\"name\":\"\xed\xa0\x80\",\"url\":\"http://10.0.0.1/\"}"),
		"cut UTF-8": of("{\"name\":\"\xe2\x82\",\"url\":\"http://10.0.0.1/\"}"), "past Unicode": of("{\"name\":\"\xf4\x90\x80\x80\",\"url\":\"http://10.0.0.1/\"}"), "bad UTF-8 in a member": "{\"\xff\":1," + honest[1:],
		"deep arrays": `{"x":` + deep("[", "]", 100_000) + "," + honest[1:], "deep objects": `{"x":` + strings.Repeat(`{"x":`, 100_000), "deep images": `{"images":` + deep("[", "]", 100_000) + "}", "depth 101": `{"x":` + deep("[", "]", 101) + "," + honest[1:],
		"101 images": of(strings.Repeat(`{"url":"http://10.0.0.1/"},`, 100) + `{"url":"http://10.0.0.1/"}`), "a million images": of(strings.Repeat(`{"url":"http://10.0.0.1/"},`, 1_000_000) + `{"url":"http://10.0.0.1/"}`),
		"long URL": of(`{"url":"http://10.0.0.1/` + strings.Repeat("a", 9000) + `"}`), "long name": of(`{"url":"http://10.0.0.1/","name":"` + strings.Repeat("a", 10_000) + `"}`),
		"huge name": of(`{"url":"http://10.0.0.1/","name":"` + strings.Repeat("a", 16<<20) + `"}`), "huge member": `{"` + strings.Repeat("a", 16<<20) + `":1,` + honest[1:], "huge number": `{"x":` + strings.Repeat("9", 16<<20) + "," + honest[1:],
		"huge string": `{"x":"` + strings.Repeat("a", 16<<20) + `",` + honest[1:], "escaped huge name": of(`{"url":"http://10.0.0.1/","name":"` + strings.Repeat(`\u0061`, 200_000) + `"}`),
		"a form": "images=http%3A%2F%2F10.0.0.1%2F", "XML with an entity": `<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><images>&e;</images>`, "YAML": "images:\n  - url: http://10.0.0.1/\n",
		"multipart": "--x\r\nContent-Disposition: form-data; name=\"images\"; filename=\"a.jpg\"\r\n\r\nx\r\n--x--\r\n", "compressed": compressed(honest), "UTF-16": wide(honest),
		"prototype": `{"__proto__":{"images":[{"url":"http://10.0.0.1/"}]}}`, "MessagePack": "\x81\xa6images\x91\x81\xa3url\xb0http://10.0.0.1/", "two empty objects": "{}{}", "newline-delimited": "{}\n" + honest,
	}
}

func compressed(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text) // a buffer takes everything
	_ = w.Close()
	return b.String()
}

func wide(text string) string {
	out := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(text)) {
		out = append(out, byte(unit), byte(unit>>8))
	}
	return string(out)
}

// attackBodies posts what is no batch. Refused is 400 in the documented shape, and
// no job more than before.
func attackBodies(ctx context.Context, t *target, r *tally) {
	before, err := t.jobs(ctx)
	r.note("list before", err)
	types := []string{"application/json", "application/json; charset=utf-16", "text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "text/xml", "*/*", "a;b;c"}
	i := 0
	for name, body := range bodies() {
		header := []string{"Content-Type", types[i%len(types)]}
		if name == "compressed" {
			header = append(header, "Content-Encoding", "gzip")
		}
		i++
		a, err := t.do(ctx, http.MethodPost, "/api/v1/batch", strings.NewReader(body), header...)
		r.note(name, refused(a, err, http.StatusBadRequest))
	}
	for name, key := range map[string]string{"empty key": "", "long key": strings.Repeat("k", 256), "key of Unicode": "ключ", "tab in a key": "a\tb"} {
		a, err := t.do(ctx, http.MethodPost, "/api/v1/batch", strings.NewReader(honest), "Idempotency-Key", key)
		r.note(name, refused(a, err, http.StatusBadRequest))
	}
	a, err := t.do(ctx, http.MethodPost, "/api/v1/batch", strings.NewReader(honest), "Idempotency-Key", "a", "Idempotency-Key", "b")
	r.note("two keys", refused(a, err, http.StatusBadRequest))
	after, err := t.jobs(ctx)
	if err == nil && after != before {
		err = fmt.Errorf("%d jobs before, %d after", before, after)
	}
	r.note("list after", err)
}

// attackSizes sends more than anybody may. Refused is 413 before the body was read,
// or 431, in the documented shape.
func attackSizes(ctx context.Context, t *target, r *tally) {
	for name, request := range map[string]string{
		"a terabyte":       "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 1099511627776\r\n\r\n{",
		"most of all":      "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775807\r\n\r\n{",
		"body with a GET":  "GET /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000),
		"body of a cancel": "POST /api/v1/batch/" + nobody + "/cancel HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1_000_000),
	} {
		a, err := t.raw(ctx, request)
		r.note(name, refused(a, err, http.StatusRequestEntityTooLarge))
	}
	for name, request := range map[string]string{
		"long header":     "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 70_000) + "\r\n\r\n",
		"many headers":    "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: x\r\n", 20_000) + "\r\n",
		"long name":       "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("x", 70_000) + ": x\r\n\r\n",
		"long address":    "GET /" + strings.Repeat("x", 70_000) + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"long method":     strings.Repeat("X", 70_000) + " / HTTP/1.1\r\nHost: x\r\n\r\n",
		"long cookie":     "GET / HTTP/1.1\r\nHost: x\r\nCookie: " + strings.Repeat("a=b; ", 20_000) + "\r\n\r\n",
		"long host":       "GET / HTTP/1.1\r\nHost: " + strings.Repeat("x", 70_000) + "\r\n\r\n",
		"endless header":  "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 5000),
		"endless address": "GET /" + strings.Repeat("x", 5_000_000),
	} {
		a, err := t.raw(ctx, request)
		r.note(name, refused(a, err, http.StatusRequestHeaderFieldsTooLarge))
	}
}

// jobs counts the jobs that there are.
func (t *target) jobs(ctx context.Context) (int, error) {
	a, err := t.do(ctx, http.MethodGet, "/api/v1/batch?limit=1", nil)
	if err != nil {
		return 0, err
	}
	var page struct {
		Total int `json:"total"`
	}
	if err := json.Unmarshal(a.body, &page); err != nil || a.status != http.StatusOK {
		return 0, fmt.Errorf("list: %s", a)
	}
	return page.Total, nil
}
