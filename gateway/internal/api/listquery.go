package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// listQuery is a request for the list.
type listQuery struct {
	job.Query
	limit int    // number of jobs that the client requested; 0: all
	key   []byte // identifies the filters and the order in page tokens; empty without any
}

// listParameters are the parameters that select, order and shape the jobs. read returns
// false for an invalid value.
var listParameters = []struct {
	name, want string
	read       func(q *job.Query, value string) bool
}{
	{"status", "one or more of pending, processing, completed, failed and cancelled, separated by commas", readStatuses},
	{"failed_images", "true", func(q *job.Query, value string) bool {
		q.Filter.FailedImages = true
		return value == "true"
	}},
	{"uncaptioned", "true", func(q *job.Query, value string) bool {
		q.Filter.Uncaptioned = true
		return value == "true"
	}},
	{"created_after", "a time of RFC 3339, such as 2026-11-28T18:00:00Z", func(q *job.Query, value string) bool {
		return readSecond(&q.Filter.CreatedFrom, value)
	}},
	{"created_before", "a time of RFC 3339, such as 2026-11-28T18:00:00Z", func(q *job.Query, value string) bool {
		return readSecond(&q.Filter.CreatedBefore, value)
	}},
	{"retry_of", "the ID of a job", func(q *job.Query, value string) bool {
		q.Filter.RetryOf = strings.ToLower(value)
		return isUUID(q.Filter.RetryOf)
	}},
	{"owner", "the name of an API key", func(q *job.Query, value string) bool {
		q.Filter.Owner = value
		return apikey.CheckName(value) == nil
	}},
	{"upload", fmt.Sprintf("the upload in the metadata of a job, at most %d bytes of UTF-8", job.MaxMetadataBytes), func(q *job.Query, value string) bool {
		q.Filter.Upload = value
		return isText(value, job.MaxMetadataBytes)
	}},
	{"q", fmt.Sprintf("the start of a job's ID or a part of an image's name, at most %d bytes of UTF-8", job.MaxSearchBytes), func(q *job.Query, value string) bool {
		q.Filter.Search = job.Search(value)
		return isText(value, job.MaxSearchBytes)
	}},
	{"order", "newest or oldest", func(q *job.Query, value string) bool {
		q.Oldest = value == "oldest"
		return q.Oldest || value == "newest"
	}},
	{"view", "full or summary", func(q *job.Query, value string) bool {
		q.Summary = value == "summary"
		return q.Summary || value == "full"
	}},
}

// readListQuery reads the parameters of a request for the list. It ignores unknown
// parameters, and known ones without a value.
func readListQuery(c echo.Context) (q listQuery, err error) {
	// Echo silently ignores values that it cannot parse, and a list without the
	// requested limit would be wrong.
	values, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return q, errQuery
	}
	if text := values.Get("limit"); text != "" {
		if q.limit, err = strconv.Atoi(text); err != nil || q.limit < 1 || q.limit > listLimit {
			return q, errLimit.with(listLimit)
		}
	}
	for _, p := range listParameters {
		given := values[p.name]
		switch {
		case len(given) > 1:
			return q, errRepeated.with(p.name)
		case len(given) == 1 && given[0] != "" && !p.read(&q.Query, given[0]):
			return q, errParameter.with(p.name, p.want)
		}
	}
	q.key = listKey(q.Query)
	if token := values.Get("page_token"); token != "" {
		q.After, err = readPageToken(token, q.key)
	}
	return q, err
}

// isText reports whether a job can have the text, which has at most the given number of bytes.
func isText(text string, most int) bool {
	return len(text) <= most && utf8.ValidString(text) && job.Storable(text)
}

// readStatuses reads a list of statuses.
func readStatuses(q *job.Query, value string) bool {
	for status := range strings.SplitSeq(value, ",") {
		switch s := job.Status(status); s {
		case job.Pending, job.Processing, job.Completed, job.Failed, job.Cancelled:
			q.Filter.Statuses = append(q.Filter.Statuses, s)
		default:
			return false
		}
	}
	slices.Sort(q.Filter.Statuses)
	q.Filter.Statuses = slices.Compact(q.Filter.Statuses)
	return true
}

// readSecond reads a time that is compared with times in whole seconds: a part of a second
// is rounded up, because no job has a time within it. Jobs are younger than 1970.
func readSecond(at *time.Time, value string) bool {
	err := at.UnmarshalText([]byte(value)) // which is stricter than time.Parse
	if whole := second(*at); whole.Before(*at) {
		*at = whole.Add(time.Second)
	} else {
		*at = whole
	}
	if at.Unix() < 0 {
		*at = time.Unix(0, 0).UTC()
	}
	return err == nil
}

// listKey returns a hash of the filters and the order of a list, or nothing if it has
// neither. An absent filter is not in the hash, so that the tokens of a list stay valid when
// another filter is added to the API.
func listKey(q job.Query) []byte {
	f := q.Filter
	var statuses, failed, uncaptioned, upload, search, order string
	for _, s := range f.Statuses {
		statuses += string(s) + ","
	}
	if f.FailedImages {
		failed = "true"
	}
	if f.Uncaptioned {
		uncaptioned = "true"
	}
	if f.Upload != "" {
		upload = strconv.Quote(f.Upload) // it may have several lines
	}
	if f.Search != "" {
		search = strconv.Quote(string(f.Search))
	}
	if q.Oldest {
		order = "oldest"
	}
	var text strings.Builder
	for _, part := range [][2]string{
		{"status", statuses},
		{"failed_images", failed},
		{"uncaptioned", uncaptioned},
		{"created_after", unixText(f.CreatedFrom)},
		{"created_before", unixText(f.CreatedBefore)},
		{"retry_of", f.RetryOf},
		{"owner", f.Owner},
		{"upload", upload},
		{"q", search},
		{"order", order},
	} {
		if part[1] != "" {
			fmt.Fprintf(&text, "%s=%s\n", part[0], part[1])
		}
	}
	if text.Len() == 0 {
		return nil
	}
	sum := sha256.Sum256([]byte(text.String()))
	return sum[:tokenKey]
}

// unixText returns the time in seconds since 1970, or nothing for the zero time.
func unixText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.Unix(), 10)
}

// A page token is, in base64, a position in the list (nanoseconds since 1970, then the ID of
// the job) and the key of the list. The console shows the time of a search that is not at its end.
const (
	tokenTime     = 8  // bytes
	tokenPosition = 44 // bytes of the time and the ID
	tokenKey      = 8  // bytes, if there is a key
)

func pageToken(at job.Cursor, key []byte) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(at.CreatedAt.UnixNano())) //nolint:gosec // jobs are younger than 1970
	return base64.RawURLEncoding.EncodeToString(append(append(b, at.ID...), key...))
}

func readPageToken(token string, key []byte) (at job.Cursor, err error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != tokenPosition && len(b) != tokenPosition+tokenKey || !isUUID(string(b[tokenTime:tokenPosition])) {
		return at, errPageToken
	}
	if !slices.Equal(b[tokenPosition:], key) {
		return at, errOtherList
	}
	nanos := int64(binary.BigEndian.Uint64(b)) //nolint:gosec // a foreign token may have any position
	return job.Cursor{CreatedAt: time.Unix(0, nanos).UTC(), ID: string(b[tokenTime:tokenPosition])}, nil
}
