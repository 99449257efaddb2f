package vision

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
)

// The values of response_format, the strictest first.
const (
	formatSchema = iota // json_schema with strict
	formatObject        // json_object
	formatNone
)

// form is how requests to one model deviate from the usual ones. The zero value deviates in nothing.
type form struct {
	format             int
	completionTokens   bool // max_completion_tokens instead of max_tokens
	withoutTemperature bool
	withoutSeed        bool
}

// The members that an error names, in the words of OpenAI, Groq, vLLM and llama.cpp.
var (
	namesFormat      = regexp.MustCompile(`(?i)response[_ ]format|json[_ ]schema|json[_ ]object|structured output|grammar`)
	namesTokens      = regexp.MustCompile(`\bmax_tokens\b`)
	namesTemperature = regexp.MustCompile(`\btemperature\b`)
	namesSeed        = regexp.MustCompile(`\bseed\b`)
)

// without returns the form of the next request after an error that names a member, and whether there is one.
func (f form) without(names string) (form, bool) {
	switch {
	case namesTokens.MatchString(names) && !f.completionTokens:
		f.completionTokens = true
	case namesTemperature.MatchString(names) && !f.withoutTemperature:
		f.withoutTemperature = true
	case namesSeed.MatchString(names) && !f.withoutSeed:
		f.withoutSeed = true
	case namesFormat.MatchString(names) && f.format < formatNone:
		f.format++
	default:
		return f, false
	}
	return f, true
}

// schema is the JSON schema of an answer.
var schema = json.RawMessage(`{"type":"object","properties":{"title":{"type":"string"},"description":{"type":"string"},` +
	`"keywords":{"type":"array","items":{"type":"string"}},"alt_text":{"type":"string"}},` +
	`"required":["title","description","keywords","alt_text"],"additionalProperties":false}`)

// retryTemperature is the temperature of the second request for one image. At 0, most servers always choose the most
// probable word, and another seed alone would return the same unusable answer.
const retryTemperature = 0.4

// body returns a request. attempt is 0 or 1. Without a picture, it only contains the prompt.
func (c *Client) body(model string, f form, attempt int, picture []byte) ([]byte, error) {
	content := []any{map[string]any{"type": "text", "text": c.prompt}}
	if picture != nil {
		content = append(content, map[string]any{"type": "image_url", "image_url": map[string]any{
			"url": "data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(picture),
		}})
	}
	members := map[string]any{
		"model":    model,
		"messages": []any{map[string]any{"role": "user", "content": content}},
	}
	if f.completionTokens {
		members["max_completion_tokens"] = c.config.MaxTokens
	} else {
		members["max_tokens"] = c.config.MaxTokens
	}
	if !f.withoutTemperature {
		members["temperature"] = retryTemperature * float64(attempt)
	}
	if !f.withoutSeed {
		members["seed"] = 1 + attempt
	}
	switch f.format {
	case formatSchema:
		members["response_format"] = map[string]any{
			"type": "json_schema", "json_schema": map[string]any{"name": "caption", "strict": true, "schema": schema},
		}
	case formatObject:
		members["response_format"] = map[string]any{"type": "json_object"}
	}
	data, err := json.Marshal(merge(members, c.extra))
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return data, nil
}

// merge applies a JSON merge patch (RFC 7396) to an object: null removes a member, and objects are merged.
func merge(into, patch map[string]any) map[string]any {
	for name, value := range patch {
		inner, isObject := value.(map[string]any)
		switch {
		case value == nil:
			delete(into, name)
		case isObject:
			old, _ := into[name].(map[string]any)
			if old == nil {
				old = map[string]any{}
			}
			into[name] = merge(old, inner)
		default:
			into[name] = value
		}
	}
	return into
}

// maxExtra bounds the extra members, in bytes.
const maxExtra = 16 << 10

// CheckExtra returns an error unless extra is empty or an object that can be merged into each request.
func CheckExtra(extra []byte) error {
	_, err := parseExtra(extra)
	return err
}

func parseExtra(extra []byte) (map[string]any, error) {
	if len(bytes.TrimSpace(extra)) == 0 {
		return nil, nil
	}
	if len(extra) > maxExtra {
		return nil, fmt.Errorf("has %d bytes, want at most %d", len(extra), maxExtra)
	}
	// Numbers keep their digits.
	d := json.NewDecoder(bytes.NewReader(extra))
	d.UseNumber()
	var members map[string]any
	if err := d.Decode(&members); err != nil || members == nil || d.InputOffset() < int64(len(bytes.TrimRight(extra, " \t\r\n"))) {
		return nil, errors.New("want a JSON object")
	}
	for _, name := range []string{"model", "messages", "stream", "n"} {
		if _, set := members[name]; set {
			return nil, fmt.Errorf("%q cannot be changed", name)
		}
	}
	return members, nil
}
