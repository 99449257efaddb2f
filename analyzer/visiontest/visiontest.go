// Package visiontest provides a strict stand-in for an API that is compatible with OpenAI's chat completions. It is
// only for tests. It reports every request that OpenAI's own API would not accept, and every image that contains
// anything in addition to pixels, and plays the answers and faults of a script.
package visiontest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemaText is the part of OpenAI's schema CreateChatCompletionRequest that a request about one image can use.
const schemaText = `{
"type": "object", "required": ["model", "messages"], "additionalProperties": false,
"properties": {
  "model": {"type": "string", "minLength": 1},
  "messages": {"type": "array", "minItems": 1, "maxItems": 1, "items": {
    "type": "object", "required": ["role", "content"], "additionalProperties": false,
    "properties": {"role": {"const": "user"}, "content": {"type": "array", "minItems": 1, "maxItems": 2,
      "prefixItems": [
        {"type": "object", "required": ["type", "text"], "additionalProperties": false,
         "properties": {"type": {"const": "text"}, "text": {"type": "string", "minLength": 1}}},
        {"type": "object", "required": ["type", "image_url"], "additionalProperties": false,
         "properties": {"type": {"const": "image_url"}, "image_url": {"type": "object", "required": ["url"],
           "additionalProperties": false, "properties": {"url": {"type": "string", "pattern": "^data:image/jpeg;base64,[A-Za-z0-9+/]+=*$"},
           "detail": {"enum": ["auto", "low", "high"]}}}}}]}}}},
  "temperature": {"type": "number", "minimum": 0, "maximum": 2},
  "seed": {"type": "integer"},
  "max_tokens": {"type": "integer", "minimum": 1},
  "max_completion_tokens": {"type": "integer", "minimum": 1},
  "reasoning_effort": {"enum": ["none", "minimal", "low", "medium", "high"]},
  "service_tier": {"enum": ["auto", "default", "flex", "priority"]},
  "store": {"type": "boolean"},
  "user": {"type": "string"},
  "response_format": {"oneOf": [
    {"type": "object", "required": ["type"], "additionalProperties": false, "properties": {"type": {"const": "json_object"}}},
    {"type": "object", "required": ["type", "json_schema"], "additionalProperties": false, "properties": {
      "type": {"const": "json_schema"},
      "json_schema": {"type": "object", "required": ["name", "schema"], "additionalProperties": false, "properties": {
        "name": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"}, "strict": {"const": true},
        "schema": {"type": "object", "required": ["type", "properties", "required", "additionalProperties"],
          "properties": {"type": {"const": "object"}, "additionalProperties": {"const": false}}}}}}}]}
}}`

// Request is a request that the server received.
type Request struct {
	Model, Prompt                  string
	Picture                        []byte // nil: the request is about no image
	MaxTokens, MaxCompletionTokens *int
	Temperature                    *float64
	Seed                           *int
	Format                         string // json_schema, json_object or ""
	Header                         http.Header
	Body                           map[string]json.RawMessage
}

// Reply is what the server does with a request.
type Reply func(w http.ResponseWriter, r *http.Request, q Request)

// Server is a running stand-in. It is safe for concurrent use.
type Server struct {
	URL string // value for CAPTION_URL

	http   *httptest.Server
	report func(error)
	key    string
	schema *jsonschema.Schema

	mu       sync.Mutex // guards the fields below
	script   []Reply
	models   map[string][]Reply
	requests []Request
	extra    map[string]bool
}

// Start starts a server that requires the key, if one is passed, and answers with [Default] until [Server.Play] is called.
// It stops at the end of the test, which fails after an invalid request.
func Start(t testing.TB, key string) *Server {
	t.Helper()
	s, err := New(key, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// New does what [Start] does outside of a test. It reports invalid requests, and the caller closes it.
func New(key string, report func(error)) (*Server, error) {
	c := jsonschema.NewCompiler()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(schemaText))
	if err != nil {
		return nil, err
	}
	if err := c.AddResource("request.json", document); err != nil {
		return nil, err
	}
	s := &Server{report: report, key: key, schema: c.MustCompile("request.json"), script: []Reply{Default}, models: map[string][]Reply{}, extra: map[string]bool{}}
	s.http = httptest.NewServer(s)
	s.URL = s.http.URL + "/v1"
	return s, nil
}

// Close ends all connections and stops the server.
func (s *Server) Close() {
	s.http.CloseClientConnections()
	s.http.Close()
}

// Play sets the replies to the next requests. The last one repeats.
func (s *Server) Play(script ...Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = script
}

// PlayModel sets the replies to the next requests for one model.
func (s *Server) PlayModel(model string, script ...Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.models[model] = script
}

// Accept permits members that OpenAI does not know, such as chat_template_kwargs.
func (s *Server) Accept(members ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range members {
		s.extra[m] = true
	}
}

// Requests returns the requests so far, without those that lacked the key.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// ServeHTTP does what the server at the URL does, for a program that listens at another address.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/chat/completions" || r.Header.Get("Content-Type") != "application/json" {
		s.report(fmt.Errorf("request %s %s of type %q, want POST /v1/chat/completions of type application/json", r.Method, r.URL.Path, r.Header.Get("Content-Type")))
	}
	if s.key != "" && r.Header.Get("Authorization") != "Bearer "+s.key {
		Status(http.StatusUnauthorized, `{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}`)(w, r, Request{})
		return
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 32<<20))
	if err != nil {
		return // The client is gone.
	}
	q, err := s.read(data)
	if err != nil {
		s.report(fmt.Errorf("invalid request: %w", err))
		Status(http.StatusTeapot, "")(w, r, q)
		return
	}
	q.Header = r.Header.Clone()
	s.next(q)(w, r, q)
}

// next records a request and returns the reply to it.
func (s *Server) next(q Request) Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, q)
	script, own := s.models[q.Model]
	if !own {
		script = s.script
	}
	reply := script[0]
	if len(script) > 1 {
		script = script[1:]
	}
	if own {
		s.models[q.Model] = script
	} else {
		s.script = script
	}
	return reply
}

// read validates a request.
func (s *Server) read(data []byte) (Request, error) {
	var q Request
	if err := json.Unmarshal(data, &q.Body); err != nil {
		return q, fmt.Errorf("body: %w", err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return q, fmt.Errorf("body: %w", err)
	}
	s.mu.Lock()
	for name := range s.extra {
		delete(document.(map[string]any), name) //nolint:forcetypeassert // The body is an object.
	}
	s.mu.Unlock()
	if err := s.schema.Validate(document); err != nil {
		return q, fmt.Errorf("body: %w", err)
	}
	var body struct {
		Model    string
		Messages []struct {
			Content []struct {
				Text     string
				ImageURL struct{ URL string } `json:"image_url"`
			}
		}
		MaxTokens           *int `json:"max_tokens"`
		MaxCompletionTokens *int `json:"max_completion_tokens"`
		Temperature         *float64
		Seed                *int
		ResponseFormat      struct{ Type string } `json:"response_format"`
	}
	if err := json.Unmarshal(data, &body); err != nil {
		return q, fmt.Errorf("body: %w", err)
	}
	if body.MaxTokens != nil && body.MaxCompletionTokens != nil {
		return q, fmt.Errorf("max_tokens and max_completion_tokens are both set")
	}
	q.Model, q.MaxTokens, q.MaxCompletionTokens = body.Model, body.MaxTokens, body.MaxCompletionTokens
	q.Temperature, q.Seed, q.Format = body.Temperature, body.Seed, body.ResponseFormat.Type
	parts := body.Messages[0].Content
	q.Prompt = parts[0].Text
	if len(parts) == 1 {
		return q, nil
	}
	_, encoded, _ := strings.Cut(parts[1].ImageURL.URL, ",")
	if q.Picture, err = base64.StdEncoding.DecodeString(encoded); err != nil {
		return q, fmt.Errorf("image: %w", err)
	}
	return q, checkPicture(q.Picture)
}

// checkPicture returns an error unless the image is a JPEG without application segments and comments.
func checkPicture(data []byte) error {
	if _, err := jpeg.Decode(bytes.NewReader(data)); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	for at := 2; at+4 <= len(data); {
		marker := data[at+1]
		if marker == 0xda {
			return nil
		}
		if marker >= 0xe0 && marker <= 0xef || marker == 0xfe {
			return fmt.Errorf("image: it has a segment %#x, want no metadata", marker)
		}
		at += 2 + int(data[at+2])<<8 + int(data[at+3])
	}
	return fmt.Errorf("image: it has no scan")
}
