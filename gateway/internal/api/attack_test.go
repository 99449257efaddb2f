package api_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"nhooyr.io/websocket"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// completed creates a job of one image and completes it.
func (r *rig) completed() (id string) {
	r.Helper()
	id = r.create(1)
	r.end(id, 0, nil)
	return id
}

// TestAttackSizes verifies that bodies and headers over the limits are rejected before
// the gateway has read them.
func TestAttackSizes(t *testing.T) {
	r := setup(t, options{})
	for status, requests := range map[int]map[string]string{
		http.StatusRequestEntityTooLarge: {
			"a terabyte":       "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 1099511627776\r\n\r\n{",
			"2^63-1 bytes":     "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775807\r\n\r\n{",
			"body with a GET":  "GET /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000),
			"body of a cancel": "POST /api/v1/batch/" + unknown + "/cancel HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1_000_000),
		},
		http.StatusRequestHeaderFieldsTooLarge: {
			"long header":     "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 70_000) + "\r\n\r\n",
			"many headers":    "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: x\r\n", 20_000) + "\r\n",
			"long name":       "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("x", 70_000) + ": x\r\n\r\n",
			"long address":    "GET /" + strings.Repeat("x", 70_000) + " HTTP/1.1\r\nHost: x\r\n\r\n",
			"long method":     strings.Repeat("X", 70_000) + " / HTTP/1.1\r\nHost: x\r\n\r\n",
			"long cookie":     "GET / HTTP/1.1\r\nHost: x\r\nCookie: " + strings.Repeat("a=b; ", 20_000) + "\r\n\r\n",
			"long host":       "GET / HTTP/1.1\r\nHost: " + strings.Repeat("x", 70_000) + "\r\n\r\n",
			"endless header":  "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 5000),
			"endless address": "GET /" + strings.Repeat("x", 5_000_000),
		},
	} {
		for name, request := range requests {
			t.Run(name, func(t *testing.T) { wantRefusal(t, r.raw(request), status) })
		}
	}
}

// TestAttackSlowly verifies that the gateway ends connections on which next to nothing
// arrives. TestStuckClients verifies that other clients are served meanwhile.
func TestAttackSlowly(t *testing.T) {
	const post = "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\n"
	for name, c := range map[string]struct {
		start, drop string
		status      int // 0: any response, or none
	}{
		"silent":       {},
		"slow line":    {start: "GET /", drop: "x"},
		"slow header":  {start: "GET / HTTP/1.1\r\nHost: x\r\n", drop: "X: x\r\n"},
		"slow body":    {start: post + "Content-Length: 1000000\r\n\r\n{", drop: " ", status: http.StatusRequestTimeout},
		"slow chunks":  {start: post + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", drop: "1\r\n \r\n", status: http.StatusRequestTimeout},
		"silent chunk": {start: post + "Transfer-Encoding: chunked\r\n\r\n", status: http.StatusRequestTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := setup(t, options{listener: newPipes()})
				conn := r.dial()
				started := time.Now()
				var dripping sync.WaitGroup
				dripping.Go(func() {
					for next := c.start; ; next = c.drop {
						if _, err := io.WriteString(conn, next); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				})
				if c.status != 0 {
					wantRefusal(t, r.read(conn), c.status)
				}
				if _, err := io.Copy(io.Discard, conn); err != nil {
					t.Error(err)
				}
				if took := time.Since(started); took > 45*time.Second {
					t.Errorf("the connection was open for %v", took)
				}
				r.must(conn.Close())
				dripping.Wait()
			})
		})
	}
}

// TestAttackSmuggling sends requests whose end two readers may see in different places,
// each with a second request behind it. It verifies that the gateway sends one response
// and closes the connection.
func TestAttackSmuggling(t *testing.T) {
	const (
		honest   = `{"images":[{"url":"http://10.0.0.1/a.jpg"}]}`
		smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	)
	chunks := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(honest), honest)
	post := func(header, body string) string {
		return "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\n" + header + "\r\n\r\n" + body + smuggled
	}
	get := func(header string) string {
		return "GET /healthz HTTP/1.1\r\nHost: x\r\n" + header + "\r\n\r\n" + smuggled
	}
	refused := []int{http.StatusBadRequest, http.StatusNotImplemented, http.StatusHTTPVersionNotSupported}
	for name, c := range map[string]struct {
		request  string
		statuses []int // nil: the gateway may accept the first request
	}{
		"length and chunks":        {post("Content-Length: 5\r\nTransfer-Encoding: chunked", chunks), nil},
		"chunks and length":        {post("Transfer-Encoding: chunked\r\nContent-Length: 5", chunks), nil},
		"length and chunks of GET": {"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, nil},
		"folded chunks":            {post("Content-Length: 5\r\nTransfer-Encoding:\r\n chunked", chunks), nil},
		"chunks in capitals":       {post("Content-Length: 5\r\nTRANSFER-ENCODING: CHUNKED", chunks), nil},
		"tab before chunked":       {post("Content-Length: 5\r\nTransfer-Encoding:\tchunked", chunks), nil},
		"two lengths":              {post("Content-Length: 5\r\nContent-Length: 6", "123456"), refused},
		"a list of lengths":        {post("Content-Length: 5, 6", "123456"), refused},
		"length with a plus":       {post("Content-Length: +5", "12345"), refused},
		"negative length":          {post("Content-Length: -5", "12345"), refused},
		"hexadecimal length":       {post("Content-Length: 0x5", "12345"), refused},
		"length past 64 bits":      {post("Content-Length: 18446744073709551621", "12345"), refused},
		"length of a word":         {post("Content-Length: five", "12345"), refused},
		"chunked, identity":        {post("Transfer-Encoding: chunked, identity", chunks), refused},
		"identity, chunked":        {post("Transfer-Encoding: identity, chunked", chunks), refused},
		"gzip, chunked":            {post("Transfer-Encoding: gzip, chunked", chunks), refused},
		"xchunked":                 {post("Transfer-Encoding: xchunked", chunks), refused},
		"quoted chunked":           {post(`Transfer-Encoding: "chunked"`, chunks), refused},
		"chunked twice":            {post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunks), refused},
		"chunked and cow":          {post("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow", chunks), refused},
		"vertical tab":             {post("Transfer-Encoding: \x0bchunked", chunks), refused},
		"space before colon":       {get("Content-Length : 5"), refused},
		"space before chunks":      {post("Transfer-Encoding : chunked", chunks), refused},
		"space before name":        {"GET /healthz HTTP/1.1\r\n Host: x\r\n\r\n" + smuggled, refused},
		"NUL in a value":           {get("X: a\x00b"), refused},
		"NUL in a name":            {get("X\x00: a"), refused},
		"carriage return alone":    {get("X: a\rY: b"), refused},
		"no colon":                 {get("X"), refused},
		"empty name":               {get(": x"), refused},
		"name with a slash":        {get("X/Y: x"), refused},
		"name of Unicode":          {get("Ключ: x"), refused},
		"negative chunk":           {post("Transfer-Encoding: chunked", "-5\r\nabcde\r\n0\r\n\r\n"), refused},
		"chunk past 64 bits":       {post("Transfer-Encoding: chunked", "fffffffffffffffff\r\nabcde"), refused},
		"chunk with a plus":        {post("Transfer-Encoding: chunked", "+5\r\nabcde\r\n0\r\n\r\n"), refused},
		"chunk with 0x":            {post("Transfer-Encoding: chunked", "0x5\r\nabcde\r\n0\r\n\r\n"), refused},
		"chunk without a size":     {post("Transfer-Encoding: chunked", "\r\nabcde\r\n0\r\n\r\n"), refused},
		"chunk over its size":      {post("Transfer-Encoding: chunked", "1\r\n{}\r\n0\r\n\r\n"), refused},
		"endless chunk extension":  {post("Transfer-Encoding: chunked", "1;"+strings.Repeat("x", 100_000)+"\r\n{\r\n0\r\n\r\n"), refused},
		"chunks of HTTP/1.0":       {"POST /api/v1/batch HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + smuggled, refused},
		"version with a space":     {"GET /healthz HTTP/1.1 \r\nHost: x\r\n\r\n" + smuggled, refused},
		"version of four":          {"GET /healthz HTTP/4.2\r\nHost: x\r\n\r\n" + smuggled, refused},
		"no version":               {"GET /healthz\r\nHost: x\r\n\r\n" + smuggled, refused},
		"line break in an address": {"GET /healthz\nX: y HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled, refused},
		"NUL in an address":        {"GET /health\x00z HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled, refused},
		"space in an address":      {"GET /health z HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled, refused},
		"no HTTP":                  {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", refused},
		"NUL bytes":                {strings.Repeat("\x00", 1000) + "\r\n\r\n", refused},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := setup(t, options{listener: newPipes()})
				conn := r.dial()
				var writing sync.WaitGroup
				writing.Go(func() { _, _ = io.WriteString(conn, c.request) }) // the gateway may close first
				in := bufio.NewReader(conn)
				resp, err := http.ReadResponse(in, nil)
				r.must(err)
				body, err := io.ReadAll(resp.Body)
				r.must(errors.Join(err, resp.Body.Close()))
				if c.statuses != nil {
					wantRefusal(t, response{resp.StatusCode, resp.Header, body}, c.statuses...)
				}
				responded := time.Now()
				if rest, err := io.ReadAll(in); len(rest) > 0 || err != nil || time.Since(responded) > 5*time.Second {
					t.Errorf("after %d %s: %.100q, %v, closed after %v", resp.StatusCode, body, rest, err, time.Since(responded))
				}
				r.must(conn.Close())
				writing.Wait()
			})
		})
	}
}

// TestAttackMethods verifies that a method that a route does not have is rejected and
// changes nothing, also when a header or the body asks for it.
func TestAttackMethods(t *testing.T) {
	r := setup(t, options{})
	job := "/api/v1/batch/" + r.completed()
	before := r.get(job)
	get := []string{"GET", "HEAD"}
	for path, allowed := range map[string][]string{
		"/api/v1/batch": {"GET", "HEAD", "POST"}, job: get, job + "/cancel": {"POST"}, job + "/retry": {"POST"}, job + "/reprocess": {"POST"}, job + "/ws": get,
		job + "/images/0/file": get, job + "/images/0/metadata": get, job + "/images/0/thumbnail": get, job + "/images/0/original": get, job + "/results.jsonl": get, job + "/results.zip": get, "/": get,
	} {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "MOVE", "DEBUG", "get", "Post", "BREW"} {
			if !slices.Contains(allowed, method) {
				t.Run(method+" "+strings.Replace(path, job, "job", 1), func(t *testing.T) {
					wantRefusal(t, r.raw(method+" "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), http.StatusMethodNotAllowed, http.StatusNotFound)
				})
			}
		}
	}
	for _, header := range []string{"X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"} {
		t.Run(header, func(t *testing.T) {
			wantRefusal(t, r.do("POST", job, strings.NewReader("_method=DELETE"), header, "DELETE"), http.StatusMethodNotAllowed)
		})
	}
	if after := r.get(job); after.status != http.StatusOK || !bytes.Equal(after.body, before.body) {
		t.Errorf("the job is now %d %s", after.status, after.body)
	}
}

// TestAttackPaths requests files by paths that are not the names of results.
func TestAttackPaths(t *testing.T) {
	r := setup(t, options{})
	id := r.completed()
	job := "/api/v1/batch/" + id
	var paths []string
	for _, up := range []string{
		"../", "..%2f", "%2e%2e/", "%2e%2e%2f", "%252e%252e%252f", "..%5c", "..\\", "..;/", ".%00./", "%c0%ae%c0%ae%c0%af", "%uff0e%uff0e/", "....//", "..%ef%bc%8f", "/", "%2f",
	} {
		for _, base := range []string{"/", "/api/v1/batch/", job + "/", job + "/images/", job + "/images/0/", job + "/images/0/file/"} {
			paths = append(paths, base+strings.Repeat(up, 8)+"etc/passwd")
		}
	}
	for _, index := range []string{"-1", "1", "00", "0x0", "0.0", "1e0", "+0", "%20", "%30%00", "9999999999999999999999", "0;a=b", "*", "0%2ffile", "null", "٠"} {
		paths = append(paths, job+"/images/"+index+"/file")
	}
	for _, kind := range []string{"originals", "file.bak", "file%00.json", "file/", "..", "%2e%2e%2f%2e%2e%2fjobs.db", "FILE", "metadata.json", ".git/config", "file;.jpg", "file%20"} {
		paths = append(paths, job+"/images/0/"+kind)
	}
	paths = append(paths, "/data/jobs.db", "/jobs.db", "/.env", "/.git/config", "/debug/pprof/", "/debug/vars", "/server-status", "/admin", "/api/v1/../../data/jobs.db", "/page/../api.go",
		"/app.js/..%2f..%2fapi.go", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/\\etc\\passwd", "/file:///etc/passwd", "/api/v1/batch/%00", job+"%00", job+"%0d%0aSet-Cookie:a=b")
	for _, path := range paths {
		t.Run(strings.Replace(path, job, "job", 1), func(t *testing.T) {
			got := r.raw("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
			wantRefusal(t, got, http.StatusNotFound, http.StatusBadRequest)
			if got.header.Get("Set-Cookie") != "" {
				t.Errorf("header %v", got.header)
			}
		})
	}
}

// TestAttackGuesses requests jobs by IDs close to an existing one and by random ones.
func TestAttackGuesses(t *testing.T) {
	r := setup(t, options{})
	id := r.completed()
	last := "0123456789abcdef"[(strings.IndexByte("0123456789abcdef", id[len(id)-1])+1)%16]
	guesses := []string{
		id[:len(id)-1] + string(last), id[:len(id)-1], id + "0", strings.ReplaceAll(id, "-", ""), "{" + id + "}", "urn:uuid:" + id, "%20" + id, id + "%20", id[:8], id[:8] + "*", "*", "%25", "_",
		id[:35] + "_", id[:35] + "%25", "0", "1", "-1", "null", "undefined", "me", "all", "latest", "'%20OR%20'1'='1", id + "'--", id + "%00", id + "," + id, string(pipeline.NewTraceID(id, 0)), unknown,
		"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "$ne", "..", id + "/..", "[object%20Object]",
	}
	for range 50 {
		guesses = append(guesses, uuid.Must(uuid.NewRandomFromReader(rand.Reader)).String())
	}
	for _, guess := range guesses {
		for _, rest := range []string{"", "/images/0/file", "/images/0/metadata", "/images/0/original", "/results.jsonl", "/results.zip", "/ws"} {
			t.Run("GET "+guess+rest, func(t *testing.T) {
				wantRefusal(t, r.raw("GET /api/v1/batch/"+guess+rest+" HTTP/1.1\r\nHost: x\r\n"+headerLines(upgrade)+"\r\n"), http.StatusNotFound)
			})
		}
		for _, rest := range []string{"/cancel", "/retry", "/reprocess"} {
			t.Run("POST "+guess+rest, func(t *testing.T) {
				wantRefusal(t, r.raw("POST /api/v1/batch/"+guess+rest+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), http.StatusNotFound)
			})
		}
	}
	for _, query := range []string{"limit=-1", "limit=0", "limit=1e9", "limit=99999999999999999999", "page_token=x", "page_token=..%2f..", "page_token=%00", "page_token=" + id, "page_token=eyJpZCI6MX0", "limit=1&page_token=%27", "limit=1;DROP"} {
		t.Run(query, func(t *testing.T) { wantRefusal(t, r.get("/api/v1/batch?"+query), http.StatusBadRequest) })
	}
}

// TestAttackOrigins sends the Origin and Host of others. It verifies that a WebSocket
// of a foreign page gets 403, that no response repeats a host it was sent, and that no
// response lets a foreign page read it.
func TestAttackOrigins(t *testing.T) {
	r := setup(t, options{})
	id := r.completed()
	own, err := url.Parse(r.url)
	r.must(err)
	host := own.Host
	for _, origin := range []string{
		"https://evil.example", "http://evil.example", "null", "file://", "http://" + host + ".evil.example", "http://evil.example/" + host, "http://evil.example#" + host,
		"http://evil.example@" + host + ".evil.example", "http://" + own.Hostname() + ":1", "x", "*", "http://", host + ", http://evil.example",
		"http://" + host + " http://evil.example", "http://" + host + "\r\nOrigin: http://evil.example",
	} {
		t.Run("WebSocket of "+origin, func(t *testing.T) {
			wantRefusal(t, r.raw("GET /api/v1/batch/"+id+"/ws HTTP/1.1\r\nHost: "+host+"\r\n"+headerLines(upgrade)+"Origin: "+origin+"\r\n\r\n"), http.StatusForbidden)
		})
	}
	for name, head := range map[string]string{
		"no Host": "", "two Hosts": "Host: a\r\nHost: b\r\n", "Host with a path": "Host: a/b\r\n", "Host with brackets": "Host: <script>\r\n", "Host with a space": "Host: a b\r\n", "Host with NUL": "Host: a\x00b\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, r.raw("GET /healthz HTTP/1.1\r\n"+head+"\r\n"), http.StatusBadRequest)
		})
	}
	for _, header := range []string{"Host", "X-Forwarded-Host", "X-Host", "Forwarded", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix"} {
		t.Run(header+" in a response", func(t *testing.T) {
			got := r.do("POST", "/api/v1/batch", strings.NewReader(`{"images":[{"url":"http://10.0.0.1/a.jpg"}]}`), header, "evil.example")
			if got.status != http.StatusCreated || strings.Contains(fmt.Sprint(got.header, string(got.body)), "evil") {
				t.Errorf("%d %s with %v", got.status, got.body, got.header)
			}
		})
	}
	for _, method := range []string{"OPTIONS", "GET"} {
		for _, path := range []string{"", "/" + id, "/" + id + "/images/0/file"} {
			t.Run(method+" "+path+" by a foreign page", func(t *testing.T) {
				got := r.do(method, "/api/v1/batch"+path, nil, "Origin", "https://evil.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "x-api-key")
				if allowed := got.header.Get("Access-Control-Allow-Origin"); allowed != "" {
					t.Errorf("%q may read it", allowed)
				}
			})
		}
	}
}

// TestAttackReaders verifies that 200 clients that read nothing, and 20 that send pings
// and read no pongs, delay no event of a client that reads.
func TestAttackReaders(t *testing.T) {
	const silent, pinging, images = 200, 20, 10
	synctest.Test(t, func(t *testing.T) {
		r := setup(t, options{listener: newPipes()}) // pipes have no buffers, so the first event blocks
		id := r.create(images)
		var writing sync.WaitGroup
		defer writing.Wait()
		for i := range silent + pinging {
			s := r.rawSocket(id)
			defer s.Close()
			if i >= silent {
				writing.Go(func() { repeat(masked(finPing, strings.Repeat("x", 125)))(s) })
			}
		}
		reader := r.dialSocket(id)
		r.wantFrames(reader, "progress: processing 0+0/10")
		started := time.Now()
		for i := range images - 1 {
			r.end(id, i, nil)
			r.wantFrames(reader, fmt.Sprintf("image_complete %d completed: processing %d+0/10", i, i+1))
		}
		r.end(id, images-1, nil)
		r.wantFrames(reader, "image_complete 9 completed: completed 10+0/10", "job_complete: completed 10+0/10")
		r.wantClose(reader, websocket.StatusNormalClosure)
		if took := time.Since(started); took > 0 {
			t.Errorf("the events were %v late", took)
		}
	})
}
