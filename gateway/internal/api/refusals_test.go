package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/progress"
	"github.com/imagebatch/imagebatch/shared/objectstore"
)

const unknown = "550e8400-e29b-41d4-a716-446655440000"

// wantError compares a response with the documented form of errors.
func wantError(t *testing.T, got response, status int, text string) {
	t.Helper()
	want := fmt.Sprintf("{\"error\":%q,\"status\":%d}\n", text, status)
	if got.status != status || string(got.body) != want {
		t.Errorf("got %d %q\nwant %d %q", got.status, got.body, status, want)
	}
	if ct := got.header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("got Content-Type %q", ct)
	}
	retry := got.header.Get("Retry-After")
	if (retry != "") != (status == http.StatusServiceUnavailable || text == receiving) {
		t.Errorf("got Retry-After %q", retry)
	}
}

// upgrade returns the headers of a valid WebSocket handshake.
var upgrade = []string{
	"Connection", "keep-alive, Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==",
}

const foreign = "Origin not allowed; ALLOWED_ORIGINS names those that are"

func TestErrors(t *testing.T) {
	r := setup(t, options{config: api.Config{AllowedOrigins: origins(t, "https://app.example.com")}})
	id := r.create(2)
	r.end(id, 0, errDamaged)
	const one = `{"images":[{"url":"http://example.com/a.jpg"}]}`
	ws := "/api/v1/batch/" + id + "/ws"
	with := func(header ...string) []string { return append(append([]string{}, upgrade...), header...) }

	for name, c := range map[string]struct {
		method, path, body string
		header             []string
		status             int
		text               string
		want               string // a header, as Name: value
	}{
		"unknown route":      {path: "/api/v2/batch", status: 404, text: "Not found"},
		"no such place":      {path: "/api/v1/batch/", status: 404, text: "Not found"},
		"unknown job":        {path: "/api/v1/batch/" + unknown, status: 404, text: "Job not found: " + unknown},
		"a job that is none": {path: "/api/v1/batch/x%20y", status: 404, text: "Job not found: x y"},
		"a name of no UUID":  {path: "/api/v1/batch/550E8400-e29b-41d4-a716-446655440000", status: 404, text: "Job not found: 550E8400-e29b-41d4-a716-446655440000"},
		"a very long name":   {path: "/api/v1/batch/" + strings.Repeat("x", 5000), status: 404, text: "Job not found: " + strings.Repeat("x", 256)},
		"wrong method, list": {method: "DELETE", path: "/api/v1/batch", status: 405, text: "Method not allowed", want: "Allow: OPTIONS, GET, HEAD, POST"},

		"empty body":      {method: "POST", path: "/api/v1/batch", status: 400, text: "Request body is empty"},
		"no images":       {method: "POST", path: "/api/v1/batch", body: `{"images":[]}`, status: 400, text: "No images provided"},
		"no JSON":         {method: "POST", path: "/api/v1/batch", body: `images=1`, status: 400, text: "Invalid JSON at byte 0: unexpected character 'i'"},
		"neither":         {method: "POST", path: "/api/v1/batch", body: `{"images":[{"url":"u"},{}]}`, status: 400, text: "Invalid image source (missing both URL and base64): images[1]"},
		"both":            {method: "POST", path: "/api/v1/batch", body: `{"images":[{"url":"u","base64":"QUJD"}]}`, status: 400, text: "Both URL and base64 provided: images[0]"},
		"too many":        {method: "POST", path: "/api/v1/batch", body: `{"images":[` + strings.Repeat(`{"url":"u"},`, 100) + `{"url":"u"}]}`, status: 400, text: "Too many images (>100)"},
		"trailing data":   {method: "POST", path: "/api/v1/batch", body: one + one, status: 400, text: "Invalid JSON at byte 47: unexpected data after the object, beginning with '{'"},
		"limit too high":  {path: "/api/v1/batch?limit=1001", status: 400, text: "limit must be a number from 1 to 1000"},
		"limit no number": {path: "/api/v1/batch?limit=x", status: 400, text: "limit must be a number from 1 to 1000"},
		"semicolon":       {path: "/api/v1/batch?limit=2;x", status: 400, text: "Invalid query: want name=value, joined by &"},
		"half an escape":  {path: "/api/v1/batch?limit=%2", status: 400, text: "Invalid query: want name=value, joined by &"},
		"bad page token":  {path: "/api/v1/batch?page_token=x", status: 400, text: "page_token is invalid"},

		"no such image":       {path: "/api/v1/batch/" + id + "/images/2/file", status: 404, text: "Image not found: images[2]"},
		"no image number":     {path: "/api/v1/batch/" + id + "/images/01/file", status: 404, text: "Image not found: images[01]"},
		"negative":            {path: "/api/v1/batch/" + id + "/images/-1/file", status: 404, text: "Image not found: images[-1]"},
		"failed image":        {path: "/api/v1/batch/" + id + "/images/0/thumbnail", status: 404, text: "No result: images[0] is failed"},
		"unfinished image":    {path: "/api/v1/batch/" + id + "/images/1/metadata", status: 404, text: "No result: images[1] is processing"},
		"image of no job":     {path: "/api/v1/batch/" + unknown + "/images/0/file", status: 404, text: "Job not found: " + unknown},
		"no such result kind": {path: "/api/v1/batch/" + id + "/images/0/secrets", status: 404, text: "Not found"},

		"no upgrade":         {path: ws, status: 426, text: "This endpoint speaks WebSocket only", want: "Upgrade: websocket"},
		"upgrade of no job":  {path: "/api/v1/batch/" + unknown + "/ws", header: upgrade, status: 404, text: "Job not found: " + unknown},
		"upgrade of a name":  {path: "/api/v1/batch/x/ws", header: upgrade, status: 404, text: "Job not found: x"},
		"other protocol":     {path: ws, header: []string{"Connection", "Upgrade", "Upgrade", "h2c"}, status: 426, text: "This endpoint speaks WebSocket only"},
		"old WebSocket":      {path: ws, header: with("Sec-WebSocket-Version", "8"), status: 400, text: "Unsupported WebSocket version, only 13 is supported", want: "Sec-Websocket-Version: 13"},
		"no key":             {path: ws, header: with("Sec-WebSocket-Key", ""), status: 400, text: "Sec-WebSocket-Key is not 16 bytes in base64"},
		"key missing":        {path: ws, header: upgrade[:6], status: 400, text: "Sec-WebSocket-Key is missing or not unique"},
		"foreign page":       {path: ws, header: with("Origin", "https://evil.example"), status: 403, text: foreign},
		"foreign port":       {path: ws, header: with("Origin", "https://app.example.com:444"), status: 403, text: foreign},
		"page of no origin":  {path: ws, header: with("Origin", "null"), status: 403, text: foreign},
		"upgrade by POST":    {method: "POST", path: ws, header: upgrade, status: 405, text: "Method not allowed"},
		"upgrade of nothing": {path: "/ws", header: upgrade, status: 404, text: "Not found"},
		"a body with a GET":  {method: "GET", path: "/api/v1/batch/x", body: strings.Repeat("x", 70_000), status: 413, text: "Request body exceeds 65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.method == "" {
				c.method = http.MethodGet
			}
			var body io.Reader
			if c.body != "" {
				body = strings.NewReader(c.body)
			}
			got := r.do(c.method, c.path, body, c.header...)
			wantError(t, got, c.status, c.text)
			if name, value, ok := strings.Cut(c.want, ": "); ok && strings.Join(got.header[name], ", ") != value {
				t.Errorf("got %s %q, want %q", name, got.header[name], value)
			}
			if c.method == http.MethodGet && c.body == "" {
				head := r.do(http.MethodHead, c.path, nil, c.header...)
				if c.header == nil && head.status != got.status || len(head.body) > 0 {
					t.Errorf("HEAD: got %d %q", head.status, head.body)
				}
			}
		})
	}
	if n := len(r.list()); n != 1 {
		t.Errorf("got %d jobs after the rejected requests, want only the earlier one", n)
	}
}

// Responses that net/http writes by itself have the documented form too.
func TestErrorsBelowTheHandlers(t *testing.T) {
	r := setup(t, options{})
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"no request":      {"hello\r\n\r\n", 400},
		"no host":         {"GET / HTTP/1.1\r\n\r\n", 400},
		"bad header":      {"GET / HTTP/1.1\r\nHost: x\r\nb ad: y\r\n\r\n", 400},
		"large header":    {"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 70_000) + "\r\n\r\n", 431},
		"strange coding":  {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: rot13\r\n\r\n", 501},
		"strange version": {"GET / HTTP/3.7\r\nHost: x\r\n\r\n", 505},
		"expectation":     {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: miracle\r\n\r\n", 417},
	} {
		t.Run(name, func(t *testing.T) {
			got := r.raw(c.request)
			wantError(t, got, c.status, http.StatusText(c.status))
		})
	}
	got := r.raw("GET /api/v1/batch/" + unknown + "/ws HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	wantError(t, got, 426, "This endpoint speaks WebSocket only")
	got = r.raw("POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
	wantError(t, got, 400, "Request body is incomplete or malformed")
}

// Two contradictory lengths can smuggle one client's request into another's connection:
// after such a request, the server reads nothing more.
func TestNothingIsReadAfterChunks(t *testing.T) {
	r := setup(t, options{})
	const body = `{"images":[{"url":"http://example.com/a.jpg"}]}`
	for name, header := range map[string]string{
		"chunks":            "Transfer-Encoding: chunked\r\n",
		"chunks and length": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
		"length and chunks": "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
		"a folded header":   "Content-Length: 5\r\nTransfer-Encoding:\r\n chunked\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn := r.dial()
			defer conn.Close()
			_, err := fmt.Fprintf(conn, "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n"+
				"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n", header, len(body), body)
			r.must(err)
			answers, err := io.ReadAll(conn)
			if n := strings.Count(string(answers), "HTTP/1.1 "); n != 1 || !strings.HasPrefix(string(answers), "HTTP/1.1 201 ") {
				t.Errorf("got %d responses, %v:\n%s", n, err, answers)
			}
		})
	}
}

// raw sends bytes as they are and reads the first response. It reads while it writes,
// because the response to a request that is too large comes before the end of it.
func (r *rig) raw(request string) response {
	r.Helper()
	conn := r.dial()
	var writing sync.WaitGroup
	defer writing.Wait()
	defer conn.Close()
	writing.Go(func() { _, _ = io.WriteString(conn, request) }) // the response shows how much arrived
	return r.read(conn)
}

func (r *rig) dial() net.Conn {
	r.Helper()
	dial := r.client.Transport.(*http.Transport).DialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: time.Minute}).DialContext
	}
	conn, err := dial(r.Context(), "tcp", strings.TrimPrefix(r.url, "http://"))
	r.must(err)
	r.Cleanup(func() { _ = conn.Close() }) // usually it is closed already
	return conn
}

func (r *rig) read(conn net.Conn) response {
	r.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	r.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	r.must(err)
	return response{resp.StatusCode, resp.Header, body}
}

func TestInternalErrors(t *testing.T) {
	const unavailable, internal = "Service temporarily unavailable, try again later", "Internal server error"
	for name, c := range map[string]struct {
		cause  error
		status int
		text   string
	}{
		"jobs unavailable":    {job.ErrUnavailable, 503, unavailable},
		"objects unavailable": {objectstore.ErrUnavailable, 503, unavailable},
		"objects refused":     {objectstore.ErrRefused, 503, "Object storage refuses requests until an operator corrects it, try again later"},
		"too slow":            {context.DeadlineExceeded, 503, unavailable},
		"strange":             {errStrange, 500, internal},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t, options{})
			id := r.create(1)
			r.end(id, 0, nil)
			fix := breakWith(&r.jobs.fault, c.cause)
			for _, path := range []string{"/api/v1/batch", "/api/v1/batch?limit=1", "/api/v1/batch/" + id, "/api/v1/batch/" + id + "/images/0/file"} {
				wantError(t, r.get(path), c.status, c.text)
			}
			wantError(t, r.do("GET", "/api/v1/batch/"+id+"/ws", nil, upgrade...), c.status, c.text)
			wantError(t, r.do("POST", "/api/v1/batch", strings.NewReader(`{"images":[{"url":"http://example.com/"}]}`)), c.status, c.text)
			fix()
			breakWith(&r.processed.fault, c.cause)
			wantError(t, r.get("/api/v1/batch/"+id+"/images/0/thumbnail"), c.status, c.text)
			if got := r.list(); len(got) != 1 {
				t.Errorf("got %d jobs, want 1", len(got))
			}
		})
	}
}

func TestFailedRequestLeavesNothing(t *testing.T) {
	r := setup(t, options{})
	r.create(1)
	image := fmt.Sprintf(`{"base64":%q}`, b64(tinyPNG(t)))
	wantError(t, r.do("POST", "/api/v1/batch", strings.NewReader(`{"images":[`+image+`,{}]}`)), 400,
		"Invalid image source (missing both URL and base64): images[1]")
	objects := 0
	for _, err := range r.originals.List(t.Context(), "") {
		r.must(err)
		objects++
	}
	if objects != 1 {
		t.Errorf("got %d originals, want only that of the valid request", objects)
	}
}

func TestBusy(t *testing.T) {
	t.Run("images", func(t *testing.T) {
		r := setup(t, options{intake: intake.Config{MaxOpenImages: 1}})
		r.create(1)
		wantError(t, r.do("POST", "/api/v1/batch", strings.NewReader("{")), 503, "Too many images in progress, try again later")
	})
	t.Run("watchers", func(t *testing.T) {
		r := setup(t, options{progress: progress.Config{MaxWatchers: 1}})
		id := r.create(1)
		r.dialSocket(id)
		wantError(t, r.do("GET", "/api/v1/batch/"+id+"/ws", nil, upgrade...), 503, "Too many WebSocket connections, event streams and waiting requests, try again later")
	})
	t.Run("uploads", func(t *testing.T) {
		const most = 10 << 20
		r := setup(t, options{config: api.Config{MaxImageBytes: most, UploadMemory: 3 * most}})
		text := `{"images":[{"base64":"` + whole(most-1) + `"}]}`
		unfinished := fmt.Sprintf("POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(text)) + text[:len(text)-1]
		first, second := r.dial(), r.dial()
		defer first.Close()
		defer second.Close()
		for _, conn := range []net.Conn{first, second} {
			_, err := io.WriteString(conn, unfinished)
			r.must(err)
		}
		r.awaitMemory("", 2*(most+api.Window))
		got := r.do("POST", "/api/v1/batch", strings.NewReader(text))
		wantError(t, got, 503, "Too many uploads at once, try again later")
		if after := got.header.Get("Retry-After"); after != "5" {
			t.Errorf("got Retry-After %q", after)
		}
		r.create(1) // a small batch next to large ones
		first.Close()
		r.awaitMemory("", most+api.Window)
		if got := r.do("POST", "/api/v1/batch", strings.NewReader(text)); got.status != 201 {
			t.Errorf("after one has ended: got %d %s", got.status, got.body)
		}
	})
}

func (r *rig) list() []map[string]any {
	r.Helper()
	var all struct {
		Jobs []map[string]any `json:"jobs"`
	}
	r.must(json.Unmarshal(r.get("/api/v1/batch").body, &all))
	return all.Jobs
}

func TestPanicEndsOneRequest(t *testing.T) {
	var log lockedBuffer
	r := setup(t, options{log: &log, ops: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") })})
	wantError(t, r.get("/healthz"), 500, "Internal server error")
	if !strings.Contains(log.String(), "boom") {
		t.Error("the log does not report the panic")
	}
	r.create(1)
}
