package service

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// CheckCaptions validates the variables about captions that the gateway and the analyzer both read: CAPTION_URL, CAPTION_MODEL
// and CAPTION_PIXELS. It returns the models without space around them.
func CheckCaptions(api SecretURL, models []string, pixels int) ([]string, error) {
	var errs []error
	reject := func(text string) { errs = append(errs, errors.New(text)) }
	if api != "" {
		u, err := url.Parse(api.Reveal())
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Fragment != "" || strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/chat/completions") {
			reject("CAPTION_URL: want the base URL of an API, such as http://ollama:11434/v1")
		}
		if len(models) == 0 {
			reject("CAPTION_MODEL: want a model, because CAPTION_URL is set")
		}
	}
	models = slices.Clone(models)
	for i, m := range models {
		models[i] = strings.TrimSpace(m)
	}
	if len(models) > 8 || slices.ContainsFunc(models, func(m string) bool {
		return m == "" || len(m) > 256 || strings.ContainsFunc(m, func(r rune) bool { return !unicode.IsGraphic(r) })
	}) || len(slices.Compact(slices.Sorted(slices.Values(models)))) < len(models) {
		reject("CAPTION_MODEL: want up to 8 different names, separated by commas")
	}
	if pixels < 64 || pixels > 4096 {
		reject("CAPTION_PIXELS: want 64 to 4096")
	}
	return models, errors.Join(errs...)
}
