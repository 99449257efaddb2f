package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// description is docs/openapi.yaml, which the tests compare with requests and responses.
type description struct {
	doc    *openapi3.T
	router routers.Router
}

// loadDescription reads docs/openapi.yaml and checks that it is valid, with its examples.
var loadDescription = sync.OnceValues(func() (*description, error) { return readDescription("../../docs/openapi.yaml") })

func readDescription(file string) (*description, error) {
	doc, err := openapi3.NewLoader().LoadFromFile(file)
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, err
	}
	// Clients must ignore unknown members, but this version of the gateway sends only described ones.
	closed := false
	for _, s := range doc.Components.Schemas {
		if len(s.Value.Properties) > 0 && s.Value.AdditionalProperties.Has == nil && s.Value.AdditionalProperties.Schema == nil {
			s.Value.AdditionalProperties.Has = &closed
		}
	}
	openapi3filter.RegisterBodyDecoder("application/jsonl", openapi3filter.PlainBodyDecoder)
	openapi3filter.RegisterBodyDecoder("text/event-stream", openapi3filter.PlainBodyDecoder)
	openapi3filter.RegisterBodyDecoder("image/jpeg", openapi3filter.FileBodyDecoder) // part of a form
	router, err := gorillamux.NewRouter(doc)
	return &description{doc, router}, err
}

// exchange is a request and its response.
type exchange struct {
	request *http.Request
	sent    []byte // body of the request
	status  int
	header  http.Header
	body    []byte // of the response, or nothing of a WebSocket
}

// undescribed are the fields of responses that every server may send, and the ones that only
// browsers interpret.
var undescribed = []string{
	"Cache-Control", "Connection", "Content-Encoding", "Content-Length", "Content-Security-Policy", "Content-Type", "Date", "Referrer-Policy",
	"Vary", "X-Content-Type-Options",
}

// check returns how the exchange differs from the description. A request that the gateway
// rejects, or of which it ignores a part with a warning, need not match.
func (d *description) check(e exchange) error {
	r := e.request.Clone(context.Background())
	if r.Method == http.MethodHead {
		r.Method = http.MethodGet
	}
	route, parameters, err := d.router.FindRoute(r)
	if err != nil {
		kind, _, _ := strings.Cut(e.header.Get("Content-Type"), ";")
		if slices.Contains([]string{"text/html", "text/css", "text/javascript"}, kind) || e.status == http.StatusNotFound || e.status == http.StatusMethodNotAllowed {
			return nil // the files of a page are not part of the API
		}
		return err
	}
	in := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true, RejectWhenRequestBodyNotSpecified: true, SkipSettingDefaults: true, MultiError: true,
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		},
	}
	if e.status < 400 && !bytes.Contains(e.body, []byte(`"warnings":`)) {
		if err := d.checkRequest(in, e.sent); err != nil {
			return fmt.Errorf("request: %w", err)
		}
	}
	response := route.Operation.Responses.Status(e.status)
	if response == nil {
		return fmt.Errorf("status %d is not described", e.status)
	}
	for name := range e.header {
		described := func(other string) bool { return strings.EqualFold(name, other) }
		if !slices.ContainsFunc(undescribed, described) && !slices.ContainsFunc(slices.Collect(maps.Keys(response.Value.Headers)), described) {
			return fmt.Errorf("header %s of status %d is not described", name, e.status)
		}
	}
	if e.request.Method == http.MethodHead {
		return nil
	}
	if len(e.body) > 0 && len(response.Value.Content) == 0 {
		return fmt.Errorf("the body of status %d is not described", e.status)
	}
	err = openapi3filter.ValidateResponse(context.Background(), (&openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: e.status, Header: e.header, Options: in.Options,
	}).SetBodyBytes(e.body))
	if err != nil {
		return fmt.Errorf("response: %w", err)
	}
	if media := response.Value.Content["application/jsonl"]; media != nil && e.header.Get("Content-Type") == "application/jsonl" {
		return checkLines(e.body, media.Schema.Value.ContentSchema.Value)
	}
	return nil
}

// checkRequest compares a request that the gateway has accepted. The gateway decodes a compressed
// body, and reads one that is not a form as JSON.
func (d *description) checkRequest(in *openapi3filter.RequestValidationInput, body []byte) error {
	r := in.Request
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return err
		}
		if body, err = io.ReadAll(z); err != nil {
			return err
		}
	}
	if len(body) > 0 && !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return openapi3filter.ValidateRequest(context.Background(), in)
}

func checkLines(body []byte, schema *openapi3.Schema) error {
	for line := range bytes.Lines(body) {
		var value any
		if err := json.Unmarshal(line, &value); err != nil {
			return fmt.Errorf("line %s: %w", line, err)
		}
		if err := schema.VisitJSON(value, openapi3.EnableJSONSchema2020(), openapi3.VisitAsResponse()); err != nil {
			return fmt.Errorf("line %s: %w", line, err)
		}
	}
	return nil
}

// described lets the clients of a test use the system through a proxy that compares every request
// and every response with docs/openapi.yaml.
func (s *system) described(t *testing.T) {
	t.Helper()
	d, err := loadDescription()
	if err != nil {
		t.Fatal(err)
	}
	target := &url.URL{Scheme: "http", Host: s.addr}
	var checked atomic.Int64
	type sentKey struct{}
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(resp *http.Response) error {
			// The body is checked when the client has all of it.
			sent, _ := resp.Request.Context().Value(sentKey{}).([]byte)
			report := func(body []byte) {
				checked.Add(1)
				if err := d.check(exchange{resp.Request, sent, resp.StatusCode, resp.Header, body}); err != nil {
					t.Errorf("%s %s differs from docs/openapi.yaml: %v", resp.Request.Method, resp.Request.URL, err)
				}
			}
			if resp.StatusCode == http.StatusSwitchingProtocols {
				report(nil)
			} else {
				resp.Body = &recordedBody{ReadCloser: resp.Body, report: report}
			}
			return nil
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has disconnected
		}
		r.Body = io.NopCloser(bytes.NewReader(sent))
		proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), sentKey{}, sent)))
	}))
	t.Cleanup(func() {
		server.Close()
		if checked.Load() == 0 {
			t.Error("no exchange was compared with docs/openapi.yaml")
		}
	})
	s.addr = server.Listener.Addr().String()
}

// recordedBody reports what was read when it is closed.
type recordedBody struct {
	io.ReadCloser
	read   bytes.Buffer
	ended  bool
	report func(body []byte)
}

func (b *recordedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Write(p[:n])
	b.ended = b.ended || errors.Is(err, io.EOF)
	return n, err
}

func (b *recordedBody) Close() error {
	if b.ended { // otherwise the client has disconnected
		b.report(b.read.Bytes())
	}
	return b.ReadCloser.Close()
}
