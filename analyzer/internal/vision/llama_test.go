package vision

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/service"
)

// exchange is one request to llama-server and its response.
type exchange struct {
	seed         int
	format       string // of the request
	status       int
	content      string // of the message
	finishReason string
	tokens       int // that the response counts as completion
}

// llama is a client of a real llama-server.
type llama struct {
	*rig
	exchanges []exchange
}

// ask asks without an image, which the text model accepts, in the way of [Client.Caption].
func (l *llama) ask() (Answer, spent, error) {
	var s spent
	a, err := l.Client.ask(l.t.Context(), l.Client.models[0], nil, &s)
	return a, s, err
}

// TestLlamaServer runs the client against llama.cpp's llama-server with a text model whose words are noise: the grammar that
// enforces the schema, the authorization, the limits and the errors are the real ones.
func TestLlamaServer(t *testing.T) {
	base := startLlama(t)
	connect := func(t *testing.T, change ...func(*Config)) *llama {
		t.Helper()
		l := &llama{rig: setup(t, append([]func(*Config){func(c *Config) { c.URL = service.SecretURL(base + "/v1") }}, change...)...)}
		l.deps.Observe = func(request []byte, status int, response []byte) {
			l.exchanges = append(l.exchanges, readExchange(t, request, status, response))
		}
		return l
	}

	t.Run("key", func(t *testing.T) {
		for name, wrong := range map[string]service.Secret{"none": "", "another": "sk-another-secret-key"} {
			t.Run(name, func(t *testing.T) {
				l := connect(t, func(c *Config) { c.APIKey = wrong })
				l.uncaptioned(ReasonConfiguration)
				if len(l.exchanges) != 1 || l.exchanges[0].status != 401 {
					t.Errorf("exchanges %+v, want one with status 401", l.exchanges)
				}
				if faults := strings.Join(l.Faults(), "\n"); !strings.Contains(faults, "wrong configuration: status 401: Invalid API Key") {
					t.Errorf("faults %q, want the server's words about the key", faults)
				}
				if wrong != "" && strings.Contains(l.log.String(), wrong.Reveal()) {
					t.Errorf("the log contains the key:\n%s", l.log)
				}
			})
		}
	})

	t.Run("URL", func(t *testing.T) {
		l := connect(t, func(c *Config) { c.URL += "/api" })
		l.uncaptioned(ReasonConfiguration)
		if faults := strings.Join(l.Faults(), "\n"); !strings.Contains(faults, "wrong configuration: status 404") {
			t.Errorf("faults %q, want status 404", faults)
		}
	})

	// llama.cpp responds to an image with status 500 if the model has no projector. Only the probe distinguishes this from an outage.
	t.Run("image", func(t *testing.T) {
		l := connect(t)
		if u := l.unavailable(); !strings.Contains(u.Reason, "image input is not supported") {
			t.Errorf("reason %q, want the server's words about images", u.Reason)
		}
		l.advance(time.Minute)
		l.probeOnce(t.Context())
		asked := len(l.exchanges)
		l.uncaptioned(ReasonConfiguration)
		if len(l.exchanges) != asked {
			t.Errorf("a request was sent to a model that accepts no images")
		}
		faults := strings.Join(l.Faults(), "\n")
		if !strings.Contains(faults, "wrong configuration: the model answers texts but fails with images: status 500: image input is not supported") {
			t.Errorf("faults %q, want a model without images", faults)
		}
		l.noSecrets()
	})

	// At a temperature of 1 the texts differ for each seed. Most contain letters; the rest is unusable and asked for once
	// more.
	t.Run("schema", func(t *testing.T) {
		const seeds = 20
		usable, capped := 0, 0
		for seed := range seeds {
			l := connect(t, func(c *Config) {
				c.Keywords = 1
				c.Extra = json.RawMessage(`{"temperature": 1, "seed": ` + strconv.Itoa(seed) + `}`)
			})
			a, s, err := l.ask()
			tokens, most := 0, 0
			for _, e := range l.exchanges {
				most = max(most, checkSchema(t, e))
				tokens += e.tokens
			}
			if most > 1 {
				capped++
			}
			if s.prompt < len(l.prompt) || s.completion != tokens || tokens == 0 {
				t.Errorf("%d prompt and %d completion tokens, want at least %d and %d", s.prompt, s.completion, len(l.prompt), tokens)
			}
			if err != nil {
				if _, ok := errors.AsType[unusable](err); !ok || len(l.exchanges) != 2 {
					t.Errorf("error %v after %d requests, want none or unusable after two", err, len(l.exchanges))
				}
				continue
			}
			usable++
			if len(a.Title) > record.MaxText || len(a.Description) > record.MaxDescription || len(a.AltText) > maxAltText || len(a.Keywords) > 1 {
				t.Errorf("answer %+v, want it within its bounds", a)
			}
		}
		if usable == 0 || capped == 0 {
			t.Errorf("%d of %d answers are usable and %d have more than 1 keyword, want some of each", usable, seeds, capped)
		}
	})

	t.Run("max_tokens", func(t *testing.T) {
		l := connect(t, func(c *Config) { c.MaxTokens = 20 })
		_, s, err := l.ask()
		why, ok := errors.AsType[unusable](err)
		if !ok || why != "finish_reason length" || s.completion != 40 {
			t.Errorf("error %v and %d tokens, want finish_reason length twice, after 20 tokens each", err, s.completion)
		}
		if len(l.exchanges) != 2 || l.exchanges[0].seed == l.exchanges[1].seed {
			t.Errorf("exchanges %+v, want two with different seeds", l.exchanges)
		}
		l.metric(`caption_requests_total{model="a",outcome="unusable"} 2`, `caption_tokens_total{kind="completion",model="a"} 40`)
	})

	// llama.cpp cannot compile this schema, and states so in the usual way.
	t.Run("fallback", func(t *testing.T) {
		l := connect(t, func(c *Config) {
			c.MaxTokens = 20 // any object is permitted, so the text need not end
			c.Extra = json.RawMessage(`{"response_format": {"json_schema": {"schema": {"type": "picture"}}}}`)
		})
		_, _, err := l.ask()
		if _, ok := errors.AsType[unusable](err); !ok || len(l.exchanges) < 2 {
			t.Fatalf("error %v after %d requests, want a response to the second one", err, len(l.exchanges))
		}
		if first, second := l.exchanges[0], l.exchanges[1]; first.format != "json_schema" || first.status != 400 || second.format != "json_object" || second.status != 200 {
			t.Errorf("exchanges %+v, want json_object after json_schema was rejected", l.exchanges)
		}
		l.metric(`caption_requests_total{model="a",outcome="unsupported"} 1`)
	})
}

// startLlama starts llama-server with a model of noise and returns its URL. The server ends with the test.
func startLlama(t *testing.T) string {
	t.Helper()
	program := os.Getenv("TEST_LLAMA_SERVER")
	if program == "" {
		t.Skip("TEST_LLAMA_SERVER is not set (deployments/local/install.sh llama)")
	}
	dir := t.TempDir()
	model := filepath.Join(dir, "noise.gguf")
	if err := os.WriteFile(model, noise(), 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.CommandContext(t.Context(), program, "--model", model, "--host", "127.0.0.1", "--port", "0", //nolint:gosec // The operator chose the program.
		"--ctx-size", "8192", "--parallel", "1", "--threads", "1")
	output := &urlFinder{found: make(chan string, 1)}
	server.Dir, server.Stdout, server.Stderr = dir, output, output
	server.Env = append(os.Environ(), "HOME="+dir, "LLAMA_CACHE="+dir, "LLAMA_API_KEY="+key)
	server.Cancel = func() error { return server.Process.Signal(syscall.SIGTERM) }
	server.WaitDelay = 10 * time.Second
	if err := server.Start(); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = server.Wait() // The test asks it to end, with an exit status of its own.
		close(ended)
	}()
	t.Cleanup(func() { <-ended })
	starting, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case url := <-output.found:
		return url
	case <-ended:
		t.Fatalf("llama-server ended at its start:\n%s", output)
	case <-starting.Done():
		t.Fatalf("llama-server does not listen:\n%s", output)
	}
	return ""
}

var listening = regexp.MustCompile(`listening on (http://127\.0\.0\.1:\d+)\s`)

// urlFinder keeps the output of llama-server and finds the URL in it, which llama-server prints when it has loaded the model.
type urlFinder struct {
	found chan string

	mu   sync.Mutex // guards the fields below
	b    bytes.Buffer
	done bool
}

func (f *urlFinder) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.b.Write(p)
	if match := listening.FindSubmatch(f.b.Bytes()); match != nil && !f.done {
		f.done = true
		f.found <- string(match[1])
	}
	return len(p), nil
}

func (f *urlFinder) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.b.String()
}

func readExchange(t *testing.T, request []byte, status int, response []byte) exchange {
	t.Helper()
	var q struct {
		Seed           int `json:"seed"`
		ResponseFormat struct {
			Type string `json:"type"`
		} `json:"response_format"`
	}
	var r struct {
		Choices []struct {
			FinishReason string `json:"finish_reason"`
			Message      struct {
				Content string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
		Usage struct {
			CompletionTokens int `json:"completion_tokens"`
		} `json:"usage"`
	}
	if err := errors.Join(json.Unmarshal(request, &q), json.Unmarshal(response, &r)); err != nil {
		t.Fatalf("status %d, response %q: %v", status, response, err)
	}
	e := exchange{seed: q.Seed, format: q.ResponseFormat.Type, status: status, tokens: r.Usage.CompletionTokens}
	if len(r.Choices) > 0 {
		e.content, e.finishReason = r.Choices[0].Message.Content, r.Choices[0].FinishReason
	}
	return e
}

// checkSchema verifies that a response follows the schema of the request, and returns its number of keywords.
func checkSchema(t *testing.T, e exchange) int {
	t.Helper()
	if e.status != 200 || e.format != "json_schema" || e.finishReason != "stop" {
		t.Errorf("status %d, format %s, finish_reason %s, content %.300q, want a complete response to json_schema", e.status, e.format, e.finishReason, e.content)
		return 0
	}
	var members struct {
		Title       *string   `json:"title"`
		Description *string   `json:"description"`
		Keywords    *[]string `json:"keywords"`
		AltText     *string   `json:"alt_text"`
	}
	d := json.NewDecoder(strings.NewReader(e.content))
	d.DisallowUnknownFields()
	if err := d.Decode(&members); err != nil || d.More() {
		t.Errorf("content %.300q: error %v, want exactly one object of the schema", e.content, err)
		return 0
	}
	if members.Title == nil || members.Description == nil || members.Keywords == nil || members.AltText == nil {
		t.Errorf("content %.300q, want all members of the schema", e.content)
		return 0
	}
	return len(*members.Keywords)
}
