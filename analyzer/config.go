package analyzer

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"

	"github.com/imagebatch/imagebatch/analyzer/internal/embedded"
	"github.com/imagebatch/imagebatch/analyzer/internal/vision"
	"github.com/imagebatch/imagebatch/shared/service"
)

// DefaultAddr is the admin address of the analyzer if HTTP_ADDR is not set.
const DefaultAddr = ":8081"

// Config is the analyzer's configuration.
type Config struct {
	service.Base
	// Number of images processed concurrently, and of messages prefetched.
	//
	// Default: one per processor, if `MAX_PIXEL_BYTES` has 32 MiB for each
	Concurrency int `env:"CONCURRENCY" envDefault:"0"`
	// Maximum size of the decoded pixels in memory, in bytes. An image that does not fit waits and never fails for this reason.
	// An image that needs more than the limit is decoded alone.
	MaxPixelBytes int64 `env:"MAX_PIXEL_BYTES" envDefault:"536870912"`
	// Precision of the embedded GPS position in the record: `keep`, `coarse` (2 decimals, about 1 km, and no altitude) or
	// `drop`. Texts written by a person, and the image itself, are not changed.
	MetadataGPS string `env:"METADATA_GPS" envDefault:"keep"`
	// Steps that this analyzer runs: `describe`, `caption` or both. With captions on, each step can have its own analyzers.
	// All analyzers need the same `CAPTION_…` variables.
	Steps []string `env:"ANALYZER_STEPS" envDefault:"describe,caption"`
	CaptionConfig
}

// The steps of an analyzer.
const (
	describeStep = "describe"
	captionStep  = "caption"
)

// does reports whether the analyzer runs a step.
func (c Config) does(step string) bool { return slices.Contains(c.Steps, step) }

// CaptionConfig is the part of the configuration that concerns the vision model. The zero value turns captions off.
type CaptionConfig struct {
	// Base URL of an API that is compatible with OpenAI's, such as `http://ollama:11434/v1`. Empty: captions are off. Requests
	// go through the proxy that `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` specify.
	CaptionURL service.SecretURL `env:"CAPTION_URL"`
	// Bearer token of the API.
	CaptionAPIKey service.Secret `env:"CAPTION_API_KEY"`
	// Vision model, required with `CAPTION_URL`. With `a,b`, `b` is used while `a` is unavailable.
	CaptionModel []string `env:"CAPTION_MODEL"`
	// Language of captions, as a BCP 47 tag such as `en`, `de` or `pt-BR`.
	CaptionLanguage string `env:"CAPTION_LANGUAGE" envDefault:"en"`
	// Fields of the record and the file that a model may fill: `title`, `description`, `keywords` and `alt_text`.
	CaptionFields []string `env:"CAPTION_FIELDS" envDefault:"title,description,keywords,alt_text"`
	// Long side of the image that is sent, in pixels, `64` to `4096`.
	CaptionPixels int `env:"CAPTION_PIXELS" envDefault:"768"`
	// Maximum number of keywords, `1` to `64`, also of stored answers.
	CaptionKeywords int `env:"CAPTION_KEYWORDS" envDefault:"12"`
	// Maximum number of concurrent requests of one process, apart from the test image at its start.
	CaptionConcurrency int `env:"CAPTION_CONCURRENCY" envDefault:"1"`
	// Maximum rate of requests of one process, evenly spaced. `0`: unlimited. With several analyzers, the limits add up.
	CaptionRequestsPerMinute int `env:"CAPTION_REQUESTS_PER_MINUTE" envDefault:"0"`
	// Maximum number of requests of one process in a UTC day, counted from its start. `0`: unlimited. With several analyzers,
	// the limits add up.
	CaptionRequestsPerDay int `env:"CAPTION_REQUESTS_PER_DAY" envDefault:"0"`
	// Maximum duration of a request, up to `3m30s`. A local model that is not loaded yet needs more than a minute.
	CaptionTimeout time.Duration `env:"CAPTION_TIMEOUT" envDefault:"3m"`
	// Maximum time after the first request about an image, or after it has found no model available for the first time. Then it continues
	// without a caption. Time in queues while other images get their answers, and waits for the limits above, do not count.
	CaptionMaxWait time.Duration `env:"CAPTION_MAX_WAIT" envDefault:"10m"`
	// Maximum tokens of an answer. Models that reason before they answer need several thousand.
	CaptionMaxTokens int `env:"CAPTION_MAX_TOKENS" envDefault:"1000"`
	// File with the prompt: a template of Go's [text/template](https://pkg.go.dev/text/template) with `{{.Language}}` (the tag),
	// `{{.LanguageName}}` (its English name) and `{{.Keywords}}`.
	//
	// Default: the built-in prompt, which [captions.md](captions.md#the-prompt) shows
	CaptionPromptFile string `env:"CAPTION_PROMPT_FILE"`
	// JSON object that is merged into each request, such as `{"reasoning_effort":"low"}`. `null` removes a member. It cannot set
	// `model`, `messages`, `stream` and `n`.
	CaptionExtra string `env:"CAPTION_EXTRA"`
	service.TrustConfig

	prompt string // content of the prompt file
}

// On reports whether captions are on.
func (c CaptionConfig) On() bool { return c.CaptionURL != "" }

// captionFields are the fields that a model can fill.
var captionFields = []string{"title", "description", "keywords", "alt_text"}

// maxPromptFile bounds the prompt file, in bytes.
const maxPromptFile = 64 << 10

// complete reads the prompt file and validates the rest. It also validates the variables if captions are off: a mistake should
// not wait until they are turned on.
func (c CaptionConfig) complete() (CaptionConfig, error) {
	if reflect.DeepEqual(c, CaptionConfig{}) {
		return c, nil
	}
	var errs []error
	reject := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	between := func(name string, value, least, most int) {
		if value < least || value > most {
			reject("%s: want %d to %d", name, least, most)
		}
	}
	models, err := service.CheckCaptions(c.CaptionURL, c.CaptionModel, c.CaptionPixels)
	if err != nil {
		errs = append(errs, err)
	}
	if strings.ContainsFunc(c.CaptionAPIKey.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		reject("CAPTION_API_KEY: want a token without spaces and other special characters")
	}
	c.CaptionModel, c.CaptionFields = models, trimmed(c.CaptionFields)
	if len(c.CaptionFields) == 0 || slices.ContainsFunc(c.CaptionFields, func(f string) bool { return !slices.Contains(captionFields, f) }) || repeated(c.CaptionFields) {
		reject("CAPTION_FIELDS: want some of %s, separated by commas", strings.Join(captionFields, ", "))
	}
	between("CAPTION_KEYWORDS", c.CaptionKeywords, 1, 64)
	between("CAPTION_CONCURRENCY", c.CaptionConcurrency, 1, 256)
	between("CAPTION_REQUESTS_PER_MINUTE", c.CaptionRequestsPerMinute, 0, 1_000_000)
	between("CAPTION_REQUESTS_PER_DAY", c.CaptionRequestsPerDay, 0, 1_000_000_000)
	between("CAPTION_MAX_TOKENS", c.CaptionMaxTokens, 50, 100_000)
	if c.CaptionTimeout < time.Second || c.CaptionTimeout > 210*time.Second {
		reject("CAPTION_TIMEOUT: want 1s to 3m30s")
	}
	if c.CaptionMaxWait < time.Second || c.CaptionMaxWait > 24*time.Hour {
		reject("CAPTION_MAX_WAIT: want 1s to 24h")
	}
	c.prompt = vision.DefaultPrompt
	if c.CaptionPromptFile != "" {
		text, err := readPrompt(c.CaptionPromptFile)
		if err != nil {
			reject("CAPTION_PROMPT_FILE: %w", err)
		} else {
			c.prompt = text
		}
	}
	if _, err := language.Parse(c.CaptionLanguage); err != nil {
		reject("CAPTION_LANGUAGE %q: want a BCP 47 tag such as en, de or pt-BR", c.CaptionLanguage)
	} else if _, err := vision.Render(c.prompt, c.CaptionLanguage, c.CaptionKeywords); err != nil {
		reject("CAPTION_PROMPT_FILE: %w", err)
	}
	if err := vision.CheckExtra([]byte(c.CaptionExtra)); err != nil {
		reject("CAPTION_EXTRA: %w", err)
	}
	return c, errors.Join(errs...)
}

// readPrompt returns the content of a file of bounded size.
func readPrompt(path string) (string, error) {
	f, err := os.Open(path) //nolint:gosec // The operator chooses the path.
	if err != nil {
		return "", err //nolint:wrapcheck // It has the path.
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPromptFile+1))
	if err != nil {
		return "", err //nolint:wrapcheck // It has the path.
	}
	if len(text) > maxPromptFile {
		return "", fmt.Errorf("%s: want at most %d bytes", path, maxPromptFile)
	}
	return strings.TrimPrefix(string(text), "\ufeff"), nil
}

// trimmed returns the items without space around them.
func trimmed(items []string) []string {
	items = slices.Clone(items)
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

func repeated(items []string) bool {
	return len(slices.Compact(slices.Sorted(slices.Values(items)))) < len(items)
}

// client returns the configuration of the vision client.
func (c CaptionConfig) client() vision.Config {
	return vision.Config{
		URL: c.CaptionURL, APIKey: c.CaptionAPIKey, Models: c.CaptionModel, Language: c.CaptionLanguage, Prompt: c.prompt,
		Pixels: c.CaptionPixels, Keywords: c.CaptionKeywords, Concurrency: c.CaptionConcurrency,
		RequestsPerMinute: c.CaptionRequestsPerMinute, RequestsPerDay: c.CaptionRequestsPerDay,
		Timeout: c.CaptionTimeout, MaxTokens: c.CaptionMaxTokens, Extra: json.RawMessage(c.CaptionExtra),
	}
}

// usualPixelBytes is the assumed size of an image's decoded pixels: those of a 4K screenshot. A photo takes far
// less, because it is decoded at a reduced scale.
const usualPixelBytes = 32 << 20

// concurrency returns the number of images in flight, which is also the number of messages to fetch: one for
// each processor, but no more than usually fit into memory together. A message that would only wait for memory
// here can be processed by another analyzer.
func concurrency(processors int, pixelBytes int64) int {
	return int(max(1, min(int64(processors), pixelBytes/usualPixelBytes)))
}

// Complete sets the defaults that depend on the machine and validates the rest.
func (c Config) Complete() (Config, error) {
	if c.Concurrency == 0 {
		c.Concurrency = concurrency(runtime.GOMAXPROCS(0), c.MaxPixelBytes)
	}
	c.MetadataGPS = cmp.Or(c.MetadataGPS, string(embedded.KeepGPS))
	var errs []error
	if c.Concurrency < 1 || c.Concurrency > 256 {
		errs = append(errs, errors.New("CONCURRENCY: want 1 to 256, or 0 for one per processor"))
	}
	if c.MaxPixelBytes < 1<<20 {
		errs = append(errs, errors.New("MAX_PIXEL_BYTES: want at least 1048576"))
	}
	if !embedded.GPS(c.MetadataGPS).Valid() {
		errs = append(errs, errors.New("METADATA_GPS: want keep, coarse or drop"))
	}
	if c.Steps = trimmed(c.Steps); slices.ContainsFunc(c.Steps, func(s string) bool { return s != describeStep && s != captionStep }) || repeated(c.Steps) {
		errs = append(errs, errors.New("ANALYZER_STEPS: want describe, caption or both, separated by a comma"))
	}
	if len(c.Steps) == 0 {
		c.Steps = []string{describeStep, captionStep}
	}
	var err error
	c.CaptionConfig, err = c.complete()
	return c, errors.Join(append(errs, err)...)
}
