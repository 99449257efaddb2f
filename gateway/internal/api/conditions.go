package api

import (
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// Conditional requests and ranges for objects (RFC 9110, sections 13 and 14). net/http's
// ServeContent also implements them, but it answers several ranges with a multipart body,
// its errors are plain text, and it hides those of the store. Objects have no
// Last-Modified, so conditions with a date do not apply.

// span is a part of an object, in bytes.
type span struct{ start, length int64 }

// isConditional reports whether the response depends on the object's ETag or size.
func isConditional(h http.Header) bool {
	return len(h["If-Match"])+len(h["If-None-Match"])+len(h["Range"]) > 0
}

// decide returns the status of the response to a request for an object, and the part
// that a 206 contains.
func decide(method string, h http.Header, o objectstore.Info) (status int, part span) {
	if tags := h["If-Match"]; len(tags) > 0 && !lists(tags, o.ETag, false) {
		return http.StatusPreconditionFailed, part
	}
	if tags := h["If-None-Match"]; len(tags) > 0 && lists(tags, o.ETag, true) {
		return http.StatusNotModified, part
	}
	ranges := h["Range"]
	if method != http.MethodGet || len(ranges) != 1 || o.ETag == "" || !rangeApplies(h, o.ETag) {
		return http.StatusOK, part
	}
	part, ok := rangeOf(ranges[0], o.Size)
	switch {
	case !ok:
		return http.StatusOK, part
	case part.length == 0:
		return http.StatusRequestedRangeNotSatisfiable, part
	}
	return http.StatusPartialContent, part
}

// rangeApplies reports whether If-Range, if there is one, names the object's ETag.
func rangeApplies(h http.Header, etag string) bool {
	wanted := h["If-Range"]
	return len(wanted) == 0 || len(wanted) == 1 && strings.TrimSpace(wanted[0]) == quoted(etag)
}

func quoted(etag string) string { return `"` + etag + `"` }

// entityTag matches the next entity tag of a list.
var entityTag = regexp.MustCompile(`^[ \t,]*(W/)?"([!#-~\x80-\xff]*)"[ \t]*(,|$)`)

// lists reports whether the lists contain the ETag, or "*". A weak entity tag counts only
// if weak is true.
func lists(lists []string, etag string, weak bool) bool {
	for _, list := range lists {
		if strings.TrimSpace(list) == "*" {
			return true
		}
		for {
			m := entityTag.FindStringSubmatch(list)
			if m == nil {
				break // the end, or no entity tag
			}
			if m[2] == etag && etag != "" && (weak || m[1] == "") {
				return true
			}
			list = list[len(m[0]):]
		}
	}
	return false
}

// oneRange matches a Range header with one range.
var oneRange = regexp.MustCompile(`^(?i:bytes)=[ \t]*([0-9]*)-([0-9]*)[ \t]*$`)

// rangeOf returns the part of size bytes that a Range header requests; its length is 0 if
// no byte of the object is in it. ok is false if the header must be ignored, because it has
// several ranges, another unit, or an invalid range.
func rangeOf(header string, size int64) (part span, ok bool) {
	m := oneRange.FindStringSubmatch(header)
	if m == nil || m[1] == "" && m[2] == "" {
		return span{}, false
	}
	first, last := number(m[1]), number(m[2])
	switch {
	case m[1] == "": // the last bytes
		first, last = max(0, size-last), size-1
	case m[2] == "":
		last = size - 1
	case first > last:
		return span{}, false
	}
	last = min(last, size-1)
	return span{first, max(0, last-first+1)}, true
}

// number returns the value of decimal digits, or the largest number if it is larger.
func number(digits string) int64 {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return math.MaxInt64 // also for no digits, where the caller knows better
	}
	return n
}
