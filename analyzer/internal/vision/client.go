package vision

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/text/language"

	"github.com/imagebatch/imagebatch/shared/buildinfo"
)

// Client asks the models. It is safe for concurrent use.
type Client struct {
	config   Config
	deps     Deps
	now      func() time.Time
	prompt   string         // rendered
	extra    map[string]any // Config.Extra
	language language.Tag
	endpoint string
	header   http.Header
	http     *http.Client
	limits   *limits
	models   []*model
	metrics  metrics
	hash     string
}

// New returns a Client. Close it after use. It sends requests through the proxy that HTTP_PROXY, HTTPS_PROXY and
// NO_PROXY specify, because the operator chose the URL.
func New(c Config, d Deps) (*Client, error) {
	if d.Now == nil {
		d.Now = time.Now
	}
	if c.Prompt == "" {
		c.Prompt = DefaultPrompt
	}
	client := &Client{config: c, deps: d, now: d.Now, limits: newLimits(c), metrics: newMetrics(d.Metrics)}
	var err error
	if client.prompt, err = Render(c.Prompt, c.Language, c.Keywords); err != nil {
		return nil, fmt.Errorf("prompt: %w", err)
	}
	if client.language, err = language.Parse(c.Language); err != nil {
		return nil, fmt.Errorf("language: %w", err)
	}
	if client.extra, err = parseExtra(c.Extra); err != nil {
		return nil, fmt.Errorf("extra members: %w", err)
	}
	base, err := url.Parse(c.URL.Reveal())
	if err != nil {
		return nil, errors.New("URL of the API is invalid") // err could contain a password
	}
	client.endpoint = base.JoinPath("chat", "completions").String() // keeps the query, which Azure needs
	client.header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}, "User-Agent": {"Imagebatch/" + buildinfo.Version}}
	if key := c.APIKey.Reveal(); key != "" {
		client.header.Set("Authorization", "Bearer "+key)
	}
	client.http = &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSClientConfig:     &tls.Config{RootCAs: d.Roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: 10 * time.Second,
			MaxIdleConnsPerHost: max(1, c.Concurrency),
			IdleConnTimeout:     time.Minute,
			ForceAttemptHTTP2:   true,
		},
		// A redirect could send the key, or the image, to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, name := range c.Models {
		client.models = append(client.models, &model{name: name, log: d.Log, metrics: client.metrics})
		client.metrics.start(name)
	}
	client.metrics.uncaptions.From0(reasons...)
	client.hash, err = client.hashRequest()
	return client, err
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Request returns the hex SHA-256 of everything that shapes an answer in addition to the image: the list of models, the
// rendered prompt, the language, the number of pixels and the extra members.
func (c *Client) Request() string { return c.hash }

func (c *Client) hashRequest() (string, error) {
	// The members of the extra object are sorted, so that their order and white space do not matter.
	data, err := json.Marshal(struct {
		Models           []string
		Prompt, Language string
		Pixels           int
		Extra            map[string]any
	}{c.config.Models, c.prompt, c.language.String(), c.config.Pixels, c.extra})
	if err != nil {
		return "", fmt.Errorf("hash request: %w", err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(data)), nil
}

// NotCaptioned counts an image that continues without a caption, by one of the Reason constants.
func (c *Client) NotCaptioned(reason string) { c.metrics.uncaptions.Inc(reason) }

// Faults returns what currently keeps images from getting captions, for /readyz. It contains no secret.
func (c *Client) Faults() []string {
	var list []string
	for _, m := range c.models {
		if f := m.fault(); f != "" {
			list = append(list, fmt.Sprintf("vision model %s: %s", m.name, f))
		}
	}
	return list
}

// spent is what a call has used so far.
type spent struct {
	first              time.Time // first request
	waited             time.Duration
	took               time.Duration
	prompt, completion int // tokens
	unusable           bool
}

// Caption asks the first available model about an image, a JPEG from [Picture]. It sends one request, or the few that
// other models, fallbacks for members that a server does not know, and asking once more need. It waits for our own
// limits for a short time only, and starts no request that the deadline of ctx could cut. tried is that of the
// Unavailable of the call before. Errors are *[Unavailable], *[Uncaptioned] and ctx's.
func (c *Client) Caption(ctx context.Context, picture []byte, tried Tried) (Answer, error) {
	s := spent{unusable: tried.Unusable}
	started := c.now()
	wait, err := c.limits.acquire(ctx)
	s.waited = c.now().Sub(started)
	if err != nil {
		return Answer{}, err
	}
	if wait > 0 {
		return Answer{}, &Unavailable{Reason: "CAPTION_CONCURRENCY", After: wait, Own: true, Tried: tried, Waited: s.waited}
	}
	defer c.limits.release()

	later := &Unavailable{After: math.MaxInt64}
	wrong := &Uncaptioned{Reason: ReasonConfiguration}
	skipped := 1 + slices.IndexFunc(c.models, func(m *model) bool { return m.name == tried.Model })
	for i, m := range c.models {
		why := m.blindness(c.now())
		if why == "" && i < skipped {
			if why = m.misconfiguration(); why == "" {
				later = &Unavailable{Reason: m.name + " had no answer before", After: firstBackoff}
				continue
			}
		}
		if why != "" {
			wrong.Detail = why
			continue
		}
		a, err := c.ask(ctx, m, picture, &s)
		if err == nil {
			a.Model, a.Language = m.name, c.language.String()
			a.DurationMS, a.PromptTokens, a.CompletionTokens = int(s.took.Milliseconds()), s.prompt, s.completion
			return a, nil
		}
		unavailable, ok := errors.AsType[*Unavailable](err)
		switch f, isFault := errors.AsType[*fault](err); {
		case ok && (unavailable.Own || unavailable.Reason == tooLate):
			tried.Unusable = s.unusable
			unavailable.First, unavailable.Waited, unavailable.Tried = s.first, s.waited, tried
			return Answer{}, unavailable
		case ok:
			if unavailable.After < later.After {
				later = unavailable
			}
		case isFault && f.outcome == misconfigured:
			wrong.Detail = f.detail
		case isFault:
			return Answer{}, &Uncaptioned{Reason: ReasonRejected, Detail: f.detail}
		case errors.Is(err, errRefused):
			return Answer{}, &Uncaptioned{Reason: ReasonRefused}
		default:
			if why, ok := errors.AsType[unusable](err); ok {
				return Answer{}, &Uncaptioned{Reason: ReasonUnusable, Detail: string(why)}
			}
			return Answer{}, err
		}
		if !s.first.IsZero() {
			tried.Model = m.name
		}
	}
	if later.Reason != "" {
		later.First, later.Waited, later.Tried.Unusable = s.first, s.waited, s.unusable
		return Answer{}, later
	}
	return Answer{}, wrong
}

// ask asks one model, and once more if the answer is the first unusable one about the image.
func (c *Client) ask(ctx context.Context, m *model, picture []byte, s *spent) (Answer, error) {
	if !s.unusable {
		a, err := c.negotiate(ctx, m, 0, picture, s)
		if _, s.unusable = errors.AsType[unusable](err); !s.unusable {
			return a, err
		}
	}
	return c.negotiate(ctx, m, 1, picture, s)
}

// maxFallbacks bounds the requests of [Client.negotiate]: two formats and three members.
const maxFallbacks = 5

// negotiate sends one request, and again without members that the server does not accept. Which members that are is
// remembered when a request without them was accepted. It records the outcome. Errors are *Unavailable, *fault of an
// outcome that waiting does not change, unusable, errRefused and ctx's.
func (c *Client) negotiate(ctx context.Context, m *model, attempt int, picture []byte, s *spent) (Answer, error) {
	form := m.nextForm()
	for fallbacks := 0; ; fallbacks++ {
		ok, wait, why := m.permit(c.now())
		if !ok {
			return Answer{}, &Unavailable{Reason: why, After: wait}
		}
		a, err := c.request(ctx, m, form, attempt, picture, s)
		f, isFault := errors.AsType[*fault](err)
		_, isUnusable := errors.AsType[unusable](err)
		switch {
		case err == nil, isUnusable, errors.Is(err, errRefused):
			o := answered
			if isUnusable {
				o = unusableReply
			} else if err != nil {
				o = refused
			}
			m.note(o, nil, c.now())
			if picture != nil {
				m.accepts(form)
			}
			return a, err
		case !isFault:
			m.release()
			return Answer{}, err
		case f.outcome == rejected:
			m.release()
			next, changed := form.without(f.names)
			if !changed || fallbacks == maxFallbacks {
				m.tries(nil)
				return Answer{}, err
			}
			form = next
			m.tries(&form)
		case f.outcome == misconfigured:
			m.note(misconfigured, f, c.now())
			return Answer{}, err
		default:
			return Answer{}, &Unavailable{Reason: f.detail, After: m.note(f.outcome, f, c.now())}
		}
	}
}

// tooLate is the reason of a request that was not sent because the deadline of the call could cut it.
const tooLate = "less than CAPTION_TIMEOUT is left"

// request sends one request within our own limits and counts it.
func (c *Client) request(ctx context.Context, m *model, f form, attempt int, picture []byte, s *spent) (Answer, error) {
	body, err := c.body(m.name, f, attempt, picture)
	if err != nil {
		return Answer{}, err
	}
	longest := ownWait
	if deadline, bounded := ctx.Deadline(); bounded {
		longest = min(longest, time.Until(deadline)-c.config.Timeout)
	}
	if longest < 0 { // If nothing was sent, the next call may get no further either, and the time counts.
		return Answer{}, &Unavailable{Reason: tooLate, Own: !s.first.IsZero()}
	}
	waiting := c.now()
	wait, limit, err := c.limits.request(ctx, waiting, longest)
	started := c.now()
	s.waited += started.Sub(waiting)
	if err != nil {
		return Answer{}, err
	}
	if wait > 0 {
		return Answer{}, &Unavailable{Reason: limit, After: wait, Own: true}
	}
	if s.first.IsZero() {
		s.first = started
	}
	r, err := c.send(ctx, body)
	took := c.now().Sub(started)
	s.took += took
	var a Answer
	if err == nil {
		a, err = r.answer(c.language, c.config.Keywords)
		prompt, completion := tokens(r.Usage.PromptTokens), tokens(r.Usage.CompletionTokens)
		s.prompt, s.completion = s.prompt+prompt, s.completion+completion
		c.metrics.tokens.Add(float64(prompt), m.name, "prompt")
		c.metrics.tokens.Add(float64(completion), m.name, "completion")
	}
	if o, counted := outcomeOf(f, err); counted {
		c.metrics.request(m.name, o, took)
	}
	return a, err
}

// outcomeOf returns the outcome of a request for the metrics. A request that ctx ended has none.
func outcomeOf(f form, err error) (outcome, bool) {
	switch e := err.(type) { //nolint:errorlint // request returns these unwrapped.
	case nil:
		return answered, true
	case unusable:
		return unusableReply, true
	case *fault:
		if _, changed := f.without(e.names); e.outcome == rejected && changed {
			return unsupported, true
		}
		return e.outcome, true
	}
	return refused, errors.Is(err, errRefused)
}

// tokens returns a number of tokens that a server reported, or 0 if it is not one.
func tokens(n float64) int {
	const most = 1e8
	if !(n >= 0 && n <= most) { // also NaN
		return 0
	}
	return int(n)
}
