package vision

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/analyzer/visiontest"
	"github.com/imagebatch/imagebatch/shared/service"
)

// TestCaption verifies the first request and the whole answer.
func TestCaption(t *testing.T) {
	r := setup(t)
	got := r.caption()
	want := Answer{
		Model: "a", Language: "en", Title: visiontest.Title, Description: visiontest.Description, Keywords: []string{"disk", "red", "shape"},
		AltText: visiontest.AltText, PromptTokens: 300, CompletionTokens: 60,
	}
	if encoded(t, got) != encoded(t, want) {
		t.Errorf("answer %+v, want %+v", got, want)
	}
	q := r.server.Requests()[0]
	if q.Format != "json_schema" || *q.MaxTokens != 1000 || *q.Temperature != 0 || *q.Seed != 1 || q.Picture == nil {
		t.Errorf("request %s, want json_schema, max_tokens 1000, temperature 0, seed 1 and an image", encoded(t, q.Body))
	}
	if !strings.Contains(q.Prompt, "English (en)") || strings.Contains(q.Prompt, "{{") {
		t.Errorf("prompt %q, want it rendered in English", q.Prompt)
	}
	r.metric(`caption_requests_total{model="a",outcome="answered"} 1`, `caption_tokens_total{kind="prompt",model="a"} 300`,
		`caption_tokens_total{kind="completion",model="a"} 60`, `caption_request_duration_seconds_count{model="a"} 1`, `caption_breaker_open{model="a"} 0`)
	r.noSecrets()
}

// TestUnusableAnswers verifies that an unusable answer is asked for once more with another seed, and that the image then
// continues without a caption.
func TestUnusableAnswers(t *testing.T) {
	for name, reply := range map[string]visiontest.Reply{
		"nonsense":           visiontest.Content("asdf qwer"),
		"empty":              visiontest.Content(""),
		"null":               visiontest.Message(map[string]any{"content": nil}, "stop"),
		"empty fields":       visiontest.Answer("", " ", nil, "\u200b"),
		"punctuation":        visiontest.Answer("...", "-", nil, "!"),
		"a list":             visiontest.Content(`["dog"]`),
		"cut JSON":           visiontest.Content(`{"title": "A d`),
		"only reasoning":     visiontest.Content(`<think>The image shows {"title": "x"}`),
		"reasoning member":   visiontest.Message(map[string]any{"content": "", "reasoning": `{"title": "x"}`, "reasoning_content": `{"title": "x"}`}, "stop"),
		"cut off":            visiontest.Message(map[string]any{"content": `{"title": "A dog"}`}, "length"),
		"filtered":           visiontest.Message(map[string]any{"content": `{"title": "A dog"}`}, "content_filter"),
		"another script":     visiontest.Answer("一只狗", "一只狗坐在草地上。", []string{"狗"}, "一只狗坐在草地上。"),
		"HTML":               visiontest.Status(http.StatusOK, "<!doctype html><title>Log in</title>", "Content-Type", "text/html"),
		"HTML as an answer":  visiontest.Content("<p>A dog on a <b>lawn</b></p>"),
		"nothing":            visiontest.Status(http.StatusOK, ""),
		"no choice":          visiontest.Status(http.StatusOK, `{"choices": []}`),
		"10 MB":              visiontest.Content(`{"title": "` + strings.Repeat("dog ", 10<<18) + `"}`),
		"JSON of other type": visiontest.Status(http.StatusOK, `{"choices": "none"}`),
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t)
			r.server.Play(reply, visiontest.Default)
			if got := r.caption(); got.Title != visiontest.Title {
				t.Errorf("answer %+v, want the second one", got)
			}
			q := r.server.Requests()
			if len(q) != 2 || *q[0].Seed == *q[1].Seed || !bytes.Equal(q[0].Picture, q[1].Picture) {
				t.Errorf("%d requests, want two with the same image and different seeds", len(q))
			}
			r.server.Play(reply)
			r.uncaptioned(ReasonUnusable)
			r.sent(4)
			r.metric(`caption_requests_total{model="a",outcome="unusable"} 3`, `caption_breaker_open{model="a"} 0`)
			r.server.Play(visiontest.Default)
			r.caption()
			r.noSecrets()
		})
	}
}

// TestOddMembers verifies that odd members and bytes around them do not cost an answer.
func TestOddMembers(t *testing.T) {
	for name, body := range map[string]string{
		"types":          `{"created": "now", "choices": [{"message": {"content": [{"type": "text", "text": "{\"title\": \"A dog\"}"}]}, "finish_reason": 7}], "usage": {"prompt_tokens": "300", "completion_tokens": 60}}`,
		"byte order":     "\ufeff" + dog("null"),
		"no error":       dog("null"),
		"empty error":    dog(`""`),
		"error object":   dog(`{}`),
		"error of nulls": dog(`{"message": null, "code": null}`),
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t)
			r.server.Play(visiontest.Status(http.StatusOK, body))
			if got := r.caption(); got.Title != "A dog" || got.PromptTokens != 0 || got.CompletionTokens != 60 || got.Keywords == nil {
				t.Errorf("answer %+v, want the title and the valid count", got)
			}
			r.sent(1)
		})
	}
}

// dog returns a response with a member for an error, in both places.
func dog(e string) string {
	return `{"error": ` + e + `, "choices": [{"error": ` + e + `, "message": {"content": "{\"title\": \"A dog\"}"}, "finish_reason": "stop"}], "usage": {"completion_tokens": 60}}`
}

// TestRefusal verifies that a refusal is not asked about again.
func TestRefusal(t *testing.T) {
	r := setup(t)
	r.server.Play(visiontest.Message(map[string]any{"content": nil, "refusal": "I cannot help with that."}, "stop"), visiontest.Default)
	r.uncaptioned(ReasonRefused)
	r.sent(1)
	r.metric(`caption_requests_total{model="a",outcome="refused"} 1`)
	if strings.Contains(r.log.String(), "cannot help") {
		t.Errorf("the log contains the refusal:\n%s", r.log)
	}
}

// TestFallbacks verifies that a request is repeated without a member that the server does not accept, and that later requests
// lack it from the start.
func TestFallbacks(t *testing.T) {
	format := func(message string) visiontest.Reply {
		return visiontest.Error(http.StatusBadRequest, message, "invalid_request_error", "", "")
	}
	for name, c := range map[string]struct {
		script []visiontest.Reply
		check  func(q visiontest.Request) bool
	}{
		"max_tokens": {[]visiontest.Reply{visiontest.Unsupported("max_tokens")}, func(q visiontest.Request) bool {
			return q.MaxTokens == nil && *q.MaxCompletionTokens == 1000 && q.Format == "json_schema" && q.Seed != nil
		}},
		"temperature": {[]visiontest.Reply{visiontest.Unsupported("temperature")}, func(q visiontest.Request) bool {
			return q.Temperature == nil && q.Seed != nil && q.MaxTokens != nil
		}},
		"seed": {[]visiontest.Reply{visiontest.Unsupported("seed")}, func(q visiontest.Request) bool {
			return q.Seed == nil && *q.Temperature == 0
		}},
		"seed of Mistral": {[]visiontest.Reply{visiontest.Status(422, `{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","seed"],"msg":"Extra inputs are not permitted"}]}}`)}, func(q visiontest.Request) bool {
			return q.Seed == nil && q.MaxTokens != nil
		}},
		"seed of FastAPI": {[]visiontest.Reply{visiontest.Status(422, `{"detail":[{"type":"extra_forbidden","loc":["body","seed"]}]}`)}, func(q visiontest.Request) bool {
			return q.Seed == nil && q.MaxTokens != nil
		}},
		"json_schema": {[]visiontest.Reply{format("This model does not support response format `json_schema`.")}, func(q visiontest.Request) bool {
			return q.Format == "json_object"
		}},
		"json_object": {[]visiontest.Reply{format("response_format.type: json_schema is not supported"), format("'response_format.type' must be 'text'")}, func(q visiontest.Request) bool {
			return q.Format == ""
		}},
		"everything": {[]visiontest.Reply{
			visiontest.Unsupported("max_tokens"), visiontest.Unsupported("temperature"), visiontest.Unsupported("seed"),
			visiontest.Status(http.StatusUnprocessableEntity, `{"object": "error", "message": "guided grammar failed", "code": 422}`), format("response_format is unknown"),
		}, func(q visiontest.Request) bool {
			return q.MaxTokens == nil && q.Temperature == nil && q.Seed == nil && q.Format == ""
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t, withModels("a", "b"))
			r.server.Play(append(c.script, visiontest.Default)...)
			r.caption()
			r.sent(len(c.script) + 1)
			r.caption()
			q := r.server.Requests()
			r.sent(len(c.script) + 2)
			for _, q := range q[len(c.script):] {
				if !c.check(q) {
					t.Errorf("request %s, want it without the rejected members", encoded(t, q.Body))
				}
			}
			r.metric(`caption_breaker_open{model="a"} 0`)
		})
	}
}

// TestFallbackIsForgottenUnlessItWorks verifies that an error about one image does not change the requests about others.
func TestFallbackIsForgottenUnlessItWorks(t *testing.T) {
	r := setup(t)
	r.server.Play(visiontest.Unsupported("max_tokens"), visiontest.Error(http.StatusBadRequest, "the image is broken", "invalid_request_error", "messages", ""), visiontest.Default)
	r.uncaptioned(ReasonRejected)
	r.caption()
	if q := r.server.Requests(); len(q) != 3 || q[2].MaxTokens == nil {
		t.Errorf("%d requests, want a third one with max_tokens", len(q))
	}
}

// TestExtra verifies that extra members are merged into each request and that null removes a member.
func TestExtra(t *testing.T) {
	r := setup(t, func(c *Config) {
		c.Extra = json.RawMessage(`{"seed": null, "response_format": {"json_schema": {"name": "other"}}, "chat_template_kwargs": {"enable_thinking": false}, "provider": {"order": ["x"]}, "temperature": 0.25}`)
	})
	r.server.Accept("chat_template_kwargs", "provider")
	r.caption()
	q := r.server.Requests()[0]
	if q.Seed != nil || *q.Temperature != 0.25 || string(q.Body["chat_template_kwargs"]) != `{"enable_thinking":false}` ||
		!strings.Contains(string(q.Body["response_format"]), `"name":"other","schema"`) {
		t.Errorf("request %s, want it merged", encoded(t, q.Body))
	}
}

// TestWrongConfiguration verifies that images continue without a caption, that the fault is logged once a minute and shown, and
// that a corrected configuration works immediately.
func TestWrongConfiguration(t *testing.T) {
	for name, reply := range map[string]visiontest.Reply{
		"401":      visiontest.Error(401, "Incorrect API key provided: "+key+".", "invalid_request_error", "", "invalid_api_key"),
		"402":      visiontest.Status(402, `{"error": {"message": "Insufficient credits", "code": 402}}`),
		"403":      visiontest.Error(403, "Country not supported", "", "", ""),
		"404":      visiontest.Status(404, `{"error": "model \"a\" not found, try pulling it first"}`),
		"quota":    visiontest.Error(429, "You exceeded your current quota", "insufficient_quota", "", "insufficient_quota", "Retry-After", "20"),
		"redirect": visiontest.Status(308, "", "Location", "https://example.org/v1/chat/completions"),
		"200":      visiontest.Status(200, `{"error": {"message": "No endpoints found", "code": 404}}`),
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t)
			r.server.Play(reply)
			for range 10 {
				r.uncaptioned(ReasonConfiguration)
			}
			if got := strings.Count(r.log.String(), "level=ERROR"); got != 1 {
				t.Errorf("%d logs, want one\n%s", got, r.log)
			}
			r.advance(logInterval)
			r.uncaptioned(ReasonConfiguration)
			if got := strings.Count(r.log.String(), "level=ERROR"); got != 2 {
				t.Errorf("%d logs after a minute, want two\n%s", got, r.log)
			}
			if f := r.Faults(); len(f) != 1 {
				t.Errorf("faults %q, want one", f)
			}
			r.metric(`caption_requests_total{model="a",outcome="configuration"} 11`, `caption_breaker_open{model="a"} 0`)
			r.noSecrets()
			r.server.Play(visiontest.Default)
			r.caption()
			if f := r.Faults(); f != nil {
				t.Errorf("faults %q after an answer, want none", f)
			}
		})
	}
}

// TestKeyIsNotSentElsewhere verifies that neither the key nor the image follows a redirect.
func TestKeyIsNotSentElsewhere(t *testing.T) {
	var elsewhere sync.Once
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		elsewhere.Do(func() { t.Error("a request followed the redirect") })
	}))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		r := setup(t)
		r.server.Play(visiontest.Status(status, "", "Location", other.URL))
		r.uncaptioned(ReasonConfiguration)
	}
}

// TestOtherErrorsConcernTheImage verifies that any other 4xx leaves the breaker alone.
func TestOtherErrorsConcernTheImage(t *testing.T) {
	for _, status := range []int{400, 405, 409, 413, 415, 422, 451} {
		r := setup(t)
		r.server.Play(visiontest.Error(status, "the image cannot be processed", "invalid_request_error", "", ""))
		for range 2 * breakerFailures {
			r.uncaptioned(ReasonRejected)
		}
		r.sent(2 * breakerFailures)
		r.metric(`caption_requests_total{model="a",outcome="rejected"} 10`, `caption_breaker_open{model="a"} 0`)
	}
}

// TestRateLimited verifies that a 429 waits as long as the server asks for.
func TestRateLimited(t *testing.T) {
	for name, c := range map[string]struct {
		header, value string
		want          time.Duration
	}{
		"seconds":             {"Retry-After", "7", 7 * time.Second},
		"date":                {"Retry-After", "Sun, 01 Mar 2026 12:00:30 GMT", 30 * time.Second},
		"milliseconds":        {"Retry-After-Ms", "1500", 1500 * time.Millisecond},
		"reset in ms":         {"X-RateLimit-Reset", "1772366440000", 40 * time.Second},
		"reset in s":          {"X-RateLimit-Reset", "1772366450", 50 * time.Second},
		"reset after seconds": {"X-RateLimit-Reset", "3", 3 * time.Second},
		"reset after":         {"X-RateLimit-Reset", "1m3s", 63 * time.Second},
		"a year":              {"Retry-After", "31536000", time.Hour},
		"nothing":             {"X-Other", "1", firstBackoff},
		"the past":            {"Retry-After", "-5", firstBackoff},
		"not a number":        {"Retry-After", "NaN", firstBackoff},
		"nonsense":            {"X-RateLimit-Reset", "soon", firstBackoff},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t)
			r.server.Play(visiontest.Error(429, "Rate limit reached", "requests", "", "rate_limit_exceeded", c.header, c.value), visiontest.Default)
			if u := r.unavailable(); u.After != c.want || u.Own || u.First != r.clock() {
				t.Errorf("%+v, want a wait of %s after a request now", u, c.want)
			}
			r.advance(c.want - time.Millisecond)
			if u := r.unavailable(); u.After != time.Millisecond || !u.First.IsZero() {
				t.Errorf("%+v, want a wait of a millisecond without a request", u)
			}
			r.sent(1)
			r.advance(time.Millisecond)
			r.caption()
			r.metric(`caption_requests_total{model="a",outcome="limited"} 1`, `caption_breaker_open{model="a"} 0`)
		})
	}
}

// TestAskedWaitHolds verifies that requests that were in flight when the server asked for a wait neither end nor shorten it.
func TestAskedWaitHolds(t *testing.T) {
	for outcome, f := range map[outcome]*fault{
		answered: nil, unusableReply: nil, refused: nil, failed: {detail: "500"}, timedOut: {detail: "slow"}, limited: {after: 7 * time.Second},
	} {
		t.Run(string(outcome), func(t *testing.T) {
			r := setup(t)
			m := r.Client.models[0]
			m.note(limited, &fault{after: 30 * time.Second}, r.clock())
			r.advance(time.Second)
			m.note(outcome, f, r.clock())
			if ok, wait, _ := m.permit(r.clock()); ok || wait != 29*time.Second {
				t.Errorf("permitted: %t, wait %s; want the 29 s that are left", ok, wait)
			}
			r.advance(29 * time.Second)
			r.caption()
		})
	}
}

// TestRateLimitedInTheBody verifies that OpenRouter's form of a 429 is read.
func TestRateLimitedInTheBody(t *testing.T) {
	r := setup(t)
	r.server.Play(visiontest.Status(200, `{"error": {"code": 429, "message": "Rate limit exceeded", "metadata": {"headers": {"X-RateLimit-Reset": "1772366440000"}}}}`))
	if u := r.unavailable(); u.After != 40*time.Second {
		t.Errorf("%+v, want a wait of 40 s", u)
	}
}

// TestBreaker verifies that failures back off, that five in a row open the breaker, and that one request at a time tests whether
// it can be closed.
func TestBreaker(t *testing.T) {
	for name, reply := range map[string]visiontest.Reply{
		"500":          visiontest.Status(500, "<html>Internal Server Error</html>"),
		"503":          visiontest.Status(503, `{"error": "overloaded"}`, "Retry-After", "1"),
		"drop":         visiontest.Drop,
		"408":          visiontest.Status(408, ""),
		"error in 200": visiontest.Status(200, `{"choices": [{"message": {"content": ""}, "error": {"code": 502, "message": "provider"}, "finish_reason": "error"}]}`),
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t)
			r.server.Play(reply)
			for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, breakerTime} {
				if u := r.unavailable(); u.After != want || u.Own || u.First.IsZero() {
					t.Errorf("failure %d: %+v, want a wait of %s after a request", i+1, u, want)
				}
				r.sent(i + 1)
				if u := r.unavailable(); u.After != want {
					t.Errorf("after failure %d: %+v, want a wait of %s", i+1, u, want)
				}
				r.sent(i + 1)
				r.advance(want)
			}
			r.metric(`caption_breaker_open{model="a"} 1`)
			if len(r.Faults()) != 1 || strings.Count(r.log.String(), "breaker opened") != 1 {
				t.Errorf("faults %q, want one, and one log:\n%s", r.Faults(), r.log)
			}
			if u := r.unavailable(); u.After != breakerTime {
				t.Errorf("failed trial: %+v, want a wait of %s", u, breakerTime)
			}
			r.sent(6)
			r.advance(breakerTime)

			// While one request tries, others wait.
			started, release := make(chan struct{}), make(chan struct{})
			r.server.Play(func(w http.ResponseWriter, q *http.Request, v visiontest.Request) {
				close(started)
				<-release
				visiontest.Default(w, q, v)
			})
			done := make(chan error, 1)
			go func() {
				_, err := r.Caption(t.Context(), r.picture, Tried{})
				done <- err
			}()
			<-started
			if u := r.unavailable(); u.After != trialWait {
				t.Errorf("during a trial: %+v, want a wait of %s", u, trialWait)
			}
			close(release)
			if err := <-done; err != nil {
				t.Errorf("trial: %v, want an answer", err)
			}
			r.sent(7)
			r.metric(`caption_breaker_open{model="a"} 0`)
			r.server.Play(visiontest.Default)
			r.caption()
		})
	}
}

// TestUnreachable verifies that a server that is gone is a failure, and that the error contains neither the password nor the
// query of the URL.
func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	r := setup(t, func(c *Config) {
		c.URL = service.SecretURL(strings.Replace(server.URL, "http://", "http://anna:hush@", 1) + "/v1?api-version=1&api-key=hush")
	})
	u := r.unavailable()
	if u.After != firstBackoff || strings.Contains(u.Reason, "hush") || !strings.Contains(u.Reason, server.URL[len("http://"):]) {
		t.Errorf("%+v, want a wait of %s, the address and no secret", u, firstBackoff)
	}
	r.metric(`caption_requests_total{model="a",outcome="unreachable"} 1`)
}

// TestTimeout verifies that a slow model is a failure after the timeout, and that the end of the caller's context is not.
func TestTimeout(t *testing.T) {
	r := setup(t, func(c *Config) { c.Timeout = 50 * time.Millisecond })
	r.server.Play(visiontest.Hang)
	if u := r.unavailable(); u.After != firstBackoff {
		t.Errorf("%+v, want a wait of %s", u, firstBackoff)
	}
	r.metric(`caption_requests_total{model="a",outcome="timeout"} 1`)

	r = setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	r.server.Play(func(w http.ResponseWriter, q *http.Request, v visiontest.Request) {
		cancel()
		visiontest.Hang(w, q, v)
	}, visiontest.Default)
	if _, err := r.Caption(ctx, r.picture, Tried{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	r.caption()
	r.metric(`caption_requests_total{model="a",outcome="timeout"} 0`, `caption_breaker_open{model="a"} 0`)
}

// TestSecondModel verifies that the second model is asked exactly while the first one is unavailable, and that it is recorded.
func TestSecondModel(t *testing.T) {
	for name, c := range map[string]struct {
		reply visiontest.Reply
		wait  time.Duration
	}{
		"failing":       {visiontest.Status(500, ""), time.Second},
		"rate limited":  {visiontest.Status(429, "", "Retry-After", "30"), 30 * time.Second},
		"wrong model":   {visiontest.Status(404, ""), 0},
		"out of credit": {visiontest.Status(402, ""), 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t, withModels("a", "b"))
			r.server.PlayModel("a", c.reply, visiontest.Default)
			if got := r.caption(); got.Model != "b" {
				t.Errorf("the answer is by %s, want b", got.Model)
			}
			if c.wait > 0 {
				if got := r.caption(); got.Model != "b" {
					t.Errorf("the second answer is by %s, want b", got.Model)
				}
			}
			r.advance(c.wait)
			if got := r.caption(); got.Model != "a" {
				t.Errorf("the answer after the wait is by %s, want a", got.Model)
			}
		})
	}
	t.Run("both unavailable", func(t *testing.T) {
		r := setup(t, withModels("a", "b"))
		r.server.PlayModel("a", visiontest.Status(429, "", "Retry-After", "30"))
		r.server.PlayModel("b", visiontest.Status(429, "", "Retry-After", "20"))
		if u := r.unavailable(); u.After != 20*time.Second {
			t.Errorf("%+v, want the shorter wait", u)
		}
		if got := r.models(); got != "a b" {
			t.Errorf("asked %s, want a b", got)
		}
	})
	t.Run("one wrong, one unavailable", func(t *testing.T) {
		r := setup(t, withModels("a", "b"))
		r.server.PlayModel("a", visiontest.Status(404, ""))
		r.server.PlayModel("b", visiontest.Status(500, ""))
		if u := r.unavailable(); u.After != firstBackoff {
			t.Errorf("%+v, want the backoff of b", u)
		}
	})
	t.Run("breakers are separate", func(t *testing.T) {
		r := setup(t, withModels("a", "b"))
		r.server.PlayModel("a", visiontest.Status(500, ""))
		for range breakerFailures {
			r.caption()
			r.advance(10 * time.Second)
		}
		r.metric(`caption_breaker_open{model="a"} 1`, `caption_breaker_open{model="b"} 0`)
	})
}

// TestOwnLimits verifies that our own limits are waits that do not count as a fault, and that nothing is sent.
func TestOwnLimits(t *testing.T) {
	t.Run("per minute", func(t *testing.T) {
		r := setup(t, func(c *Config) { c.RequestsPerMinute = 2 })
		r.caption()
		if u := r.unavailable(); !u.Own || u.After != 30*time.Second || !u.First.IsZero() {
			t.Errorf("%+v, want a wait of our own of 30 s", u)
		}
		r.sent(1)
		r.advance(30 * time.Second)
		r.caption()
	})
	t.Run("per day", func(t *testing.T) {
		r := setup(t, func(c *Config) { c.RequestsPerDay = 2 })
		r.caption()
		r.caption()
		if u := r.unavailable(); !u.Own || u.After != 12*time.Hour {
			t.Errorf("%+v, want a wait of our own until midnight UTC", u)
		}
		r.sent(2)
		r.advance(12 * time.Hour)
		r.caption()
	})
	t.Run("asking once more", func(t *testing.T) {
		r := setup(t, func(c *Config) { c.RequestsPerDay = 1 })
		r.server.Play(visiontest.Content("nonsense"))
		u := r.unavailable()
		if !u.Own || u.Tried != (Tried{Unusable: true}) {
			t.Errorf("%+v, want a wait of our own that does not start again", u)
		}
		r.advance(12 * time.Hour)
		if _, err := r.Caption(t.Context(), r.picture, u.Tried); err == nil || err.Error() != "not captioned: unusable: not a JSON object" {
			t.Errorf("error %v, want two unusable answers", err)
		}
		r.sent(2)
	})
	t.Run("fallbacks", func(t *testing.T) {
		r := setup(t, func(c *Config) { c.RequestsPerMinute = 2 })
		r.server.Play(visiontest.Unsupported("max_tokens"), visiontest.Unsupported("seed"), visiontest.Default)
		for range 2 {
			if u := r.unavailable(); !u.Own {
				t.Errorf("%+v, want a wait of our own", u)
			}
			r.advance(30 * time.Second)
		}
		r.caption()
		r.sent(3)
		if q := r.server.Requests()[2]; q.MaxTokens != nil || q.Seed != nil {
			t.Errorf("request %s, want it without the members that the first two calls found out", encoded(t, q.Body))
		}
	})
}

// TestTooLittleTime verifies that no request starts that the end of a call could cut, and that the next call continues.
func TestTooLittleTime(t *testing.T) {
	for name, test := range map[string]struct {
		reply     visiontest.Reply
		want      Tried
		perMinute int
		own, asks string // whether the wait is our own, and the models that were asked at the end
	}{
		"second model":    {visiontest.Status(500, ""), Tried{Model: "a"}, 0, "own", "a b"},
		"wrong model":     {visiontest.Status(404, ""), Tried{Model: "a"}, 0, "own", "a b"},
		"unusable answer": {visiontest.Content("nonsense"), Tried{Unusable: true}, 0, "own", "a a"},
		"fallback":        {visiontest.Unsupported("seed"), Tried{}, 0, "own", "a a"},
		"our own limit":   {visiontest.Content("nonsense"), Tried{Unusable: true}, 30, "own", "a a"},
		"nothing sent":    {nil, Tried{}, 0, "", "a"},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t, withModels("a", "b"), func(c *Config) { c.RequestsPerMinute = test.perMinute })
			ctx := &step{Context: t.Context()}
			left := r.config.Timeout - time.Second
			if test.perMinute > 0 {
				left += 2 * time.Second // The limit asks for two seconds.
			}
			if ctx.left.Store(int64(2 * r.config.Timeout)); test.reply == nil {
				ctx.left.Store(int64(left))
			} else {
				r.server.PlayModel("a", func(w http.ResponseWriter, q *http.Request, v visiontest.Request) {
					ctx.left.Store(int64(left))
					test.reply(w, q, v)
				}, visiontest.Default)
			}
			_, err := r.Caption(ctx, r.picture, Tried{})
			u, ok := err.(*Unavailable) //nolint:errorlint // It is the documented type.
			if !ok || u.Own != (test.own != "") || u.Tried != test.want {
				t.Fatalf("error %+v, want an Unavailable with %+v", err, test.want)
			}
			r.advance(breakerTime)
			ctx.left.Store(int64(2 * r.config.Timeout))
			if _, err := r.Caption(ctx, r.picture, u.Tried); err != nil {
				t.Error(err)
			}
			if got := r.models(); got != test.asks {
				t.Errorf("asked %s, want %s", got, test.asks)
			}
			if q := r.server.Requests(); test.want.Unusable && *q[1].Seed != 2 {
				t.Errorf("seed %d, want that of a second request", *q[1].Seed)
			}
		})
	}
	t.Run("the round is over", func(t *testing.T) {
		r := setup(t, withModels("a", "b"))
		r.server.PlayModel("b", visiontest.Status(404, ""))
		_, err := r.Caption(t.Context(), r.picture, Tried{Model: "a"})
		if u, ok := err.(*Unavailable); !ok || u.Own || u.Tried != (Tried{}) { //nolint:errorlint // It is the documented type.
			t.Errorf("error %v, want an Unavailable that starts again with a", err)
		}
	})
}

// step is a context whose deadline moves. It does not end.
type step struct {
	context.Context //nolint:containedctx // It is one.
	left            atomic.Int64
}

func (s *step) Deadline() (time.Time, bool) {
	return time.Now().Add(time.Duration(s.left.Load())), true
}

// TestConcurrency verifies that no more requests are in flight than permitted, and that waiting ends with the context.
func TestConcurrency(t *testing.T) {
	r := setup(t, func(c *Config) { c.Concurrency = 1 })
	started, release := make(chan struct{}), make(chan struct{})
	r.server.Play(func(w http.ResponseWriter, q *http.Request, v visiontest.Request) {
		close(started)
		<-release
		visiontest.Default(w, q, v)
	}, visiontest.Default)
	done := make(chan error, 1)
	go func() {
		_, err := r.Caption(t.Context(), r.picture, Tried{})
		done <- err
	}()
	<-started
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Caption(ctx, r.picture, Tried{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	r.sent(1)
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestWaitForSlotIsBounded verifies that a call does not wait long for a slot, and that the wait is our own.
func TestWaitForSlotIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(Config{Concurrency: 1})
		if wait, err := l.acquire(t.Context()); wait != 0 || err != nil {
			t.Fatal(wait, err)
		}
		started := time.Now()
		if wait, err := l.acquire(t.Context()); wait != ownWait || err != nil || time.Since(started) != ownWait {
			t.Errorf("wait %s, error %v after %s, want to be sent away after %s", wait, err, time.Since(started), ownWait)
		}
		l.release()
		if wait, err := l.acquire(t.Context()); wait != 0 || err != nil {
			t.Errorf("wait %s, error %v, want a slot", wait, err)
		}
	})
}

// TestShortWaitForRate verifies that requests are evenly spaced by short waits.
func TestShortWaitForRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(Config{RequestsPerMinute: 60})
		started := time.Now()
		for range 4 {
			if wait, _, err := l.request(t.Context(), time.Now(), ownWait); wait != 0 || err != nil {
				t.Fatal(wait, err)
			}
		}
		if took := time.Since(started).Round(time.Millisecond); took != 3*time.Second {
			t.Errorf("4 requests took %s, want 3s", took)
		}
	})
}

// TestProbe verifies which models the probe at the start recognizes as never accepting images.
func TestProbe(t *testing.T) {
	t.Run("accepts images", func(t *testing.T) {
		r := setup(t)
		r.probeOnce(t.Context())
		r.probeOnce(t.Context())
		r.sent(1)
		if f := r.Faults(); f != nil {
			t.Errorf("faults %q, want none", f)
		}
	})
	t.Run("llama.cpp without its projector", func(t *testing.T) {
		r := setup(t)
		r.server.Play(visiontest.NoPictures)
		r.probeOnce(t.Context())
		if f := r.Faults(); len(f) != 1 || !strings.Contains(f[0], "mmproj") {
			t.Errorf("faults %q, want the server's hint", f)
		}
		sent := len(r.server.Requests())
		r.uncaptioned(ReasonConfiguration)
		r.uncaptioned(ReasonConfiguration)
		r.sent(sent)
		if got := strings.Count(r.log.String(), "level=ERROR"); got != 1 {
			t.Errorf("%d logs, want one\n%s", got, r.log)
		}
		r.server.Play(visiontest.Default)
		r.advance(firstProbeInterval)
		r.probeOnce(t.Context())
		r.caption()
	})
	t.Run("loses its projector later", func(t *testing.T) {
		r := setup(t)
		r.probeOnce(t.Context())
		for name, wait := range map[string]time.Duration{"while others wait": 0, "as the half-open test": breakerTime} {
			r.caption()
			r.server.Play(visiontest.NoPictures)
			for range breakerFailures {
				_ = r.unavailable()
				r.advance(breakerTime)
			}
			r.advance(wait - breakerTime)
			r.probeOnce(t.Context())
			if f := r.Faults(); len(f) != 1 || !strings.Contains(f[0], "mmproj") {
				t.Errorf("%s: faults %q, want the server's hint", name, f)
			}
			r.uncaptioned(ReasonConfiguration)
			r.server.Play(visiontest.Default)
			r.advance(breakerTime)
			r.probeOnce(t.Context())
		}
		r.caption()
	})
	t.Run("one image fails", func(t *testing.T) {
		r := setup(t)
		r.probeOnce(t.Context())
		r.server.Play(visiontest.Status(500, ""))
		for range breakerFailures {
			_ = r.unavailable()
			r.advance(breakerTime)
		}
		r.server.Play(visiontest.Default)
		r.probeOnce(t.Context())
		if f := r.Faults(); f != nil {
			t.Errorf("faults %q, want none: the model accepts the built-in image", f)
		}
	})
	t.Run("rejects images", func(t *testing.T) {
		r := setup(t, withModels("a", "b"))
		r.server.PlayModel("a", visiontest.Error(400, "a is not a multimodal model", "BadRequestError", "", ""))
		r.probeOnce(t.Context())
		if got := r.caption(); got.Model != "b" {
			t.Errorf("the answer is by %s, want b", got.Model)
		}
		if f := r.Faults(); len(f) != 1 {
			t.Errorf("faults %q, want one", f)
		}
	})
	t.Run("server is down", func(t *testing.T) {
		r := setup(t)
		r.server.Play(visiontest.Status(500, ""))
		r.probeOnce(t.Context())
		r.server.Play(visiontest.Default)
		r.advance(breakerTime)
		r.caption() // Not a wrong configuration.
	})
	t.Run("a model that hangs does not block images", func(t *testing.T) {
		r := setup(t, func(c *Config) { c.Concurrency = 1 })
		started := make(chan struct{})
		r.server.Play(func(w http.ResponseWriter, q *http.Request, v visiontest.Request) {
			close(started)
			visiontest.Hang(w, q, v)
		}, visiontest.Default)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		<-started
		r.caption()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Run("until the end of the context", func(t *testing.T) {
		r := setup(t)
		ctx, cancel := context.WithCancel(t.Context())
		r.server.Play(func(w http.ResponseWriter, q *http.Request, v visiontest.Request) {
			visiontest.Default(w, q, v)
			cancel()
		})
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
		r.sent(1)
	})
}

// TestRequestHash verifies what changes the hash of the request.
func TestRequestHash(t *testing.T) {
	hash := func(change func(*Config)) string { return setup(t, change).Request() }
	base := hash(func(*Config) {})
	if len(base) != 64 || base != hash(func(c *Config) {
		c.URL, c.APIKey, c.Timeout, c.MaxTokens, c.Concurrency, c.Prompt = "http://127.0.0.1:1/v1", "other", time.Second, 500, 2, DefaultPrompt
	}) {
		t.Errorf("hash %s, want one that does not depend on the URL, the key and the limits", base)
	}
	seen := map[string]string{base: "nothing"}
	for name, change := range map[string]func(*Config){
		"models": withModels("b"), "more models": withModels("a", "b"), "joined models": withModels("a,b"),
		"language": func(c *Config) { c.Language = "de" }, "pixels": func(c *Config) { c.Pixels = 512 },
		"prompt": func(c *Config) { c.Prompt = "Describe it." }, "extra": func(c *Config) { c.Extra = json.RawMessage(`{"top_p": 1, "user": "x"}`) },
	} {
		h := hash(change)
		if other, equal := seen[h]; equal {
			t.Errorf("%s has the same hash as %s", name, other)
		}
		seen[h] = name
	}
	sorted := hash(func(c *Config) { c.Extra = json.RawMessage(` {"user": "x", "top_p": 1}`) })
	if seen[sorted] != "extra" {
		t.Error("the order of the extra members changes the hash")
	}
}

// TestNotCaptioned verifies the count of images without a caption.
func TestNotCaptioned(t *testing.T) {
	r := setup(t)
	r.NotCaptioned(ReasonTimeout)
	r.metric(`images_uncaptioned_total{reason="timeout"} 1`, `images_uncaptioned_total{reason="refused"} 0`)
}

// TestPicture verifies that the image is sent on white and without metadata.
func TestPicture(t *testing.T) {
	transparent := image.NewNRGBA(image.Rect(0, 0, 40, 20))
	data, err := Picture(t.Context(), decoder{transparent}, []byte("file"), 40)
	if err != nil {
		t.Fatal(err)
	}
	m, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if r, g, b, _ := m.At(20, 10).RGBA(); m.Bounds().Size() != image.Pt(40, 20) || min(r, g, b) < 0xfe00 {
		t.Errorf("%v with the color %d %d %d, want 40×20 in white", m.Bounds(), r>>8, g>>8, b>>8)
	}
}

type decoder struct{ img *image.NRGBA }

func (d decoder) Upright(context.Context, []byte, int) (*image.NRGBA, error) { return d.img, nil }
