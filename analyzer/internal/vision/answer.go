package vision

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"

	"github.com/imagebatch/imagebatch/analyzer/internal/record"
)

// Bounds on the texts of an answer, in bytes. Title, description and keywords have those of the record.
const (
	maxAltText     = 1024
	maxKeyword     = 64 // IPTC's limit; a longer one is not a keyword
	maxAllKeywords = 8192
)

// unusable is the error of an answer that cannot be used. It states only which rule was broken, never the answer.
type unusable string

func (e unusable) Error() string { return string(e) }

var (
	reasoning = regexp.MustCompile(`(?is)<(think|thinking|reasoning)>.*?</(think|thinking|reasoning)>`)
	closing   = regexp.MustCompile(`(?i)</(think|thinking|reasoning)>`)
	opening   = regexp.MustCompile(`(?i)<(think|thinking|reasoning)>`)
)

// parse returns the texts of an answer, cleaned and bounded. tag is the language that was asked for, and keywords the
// maximum number of keywords. Fields that the model left out are empty, but not all of them. Errors are of type
// unusable.
func parse(content string, tag language.Tag, keywords int) (Answer, error) {
	object, err := objectIn(content)
	if err != nil {
		return Answer{}, err
	}
	var members struct {
		Title       any `json:"title"`
		Description any `json:"description"`
		Keywords    any `json:"keywords"`
		AltText     any `json:"alt_text"`
	}
	if json.Unmarshal([]byte(object), &members) != nil {
		return Answer{}, unusable("not a JSON object")
	}
	a := Answer{
		Title:       clean(text(members.Title), record.MaxText),
		Description: clean(text(members.Description), record.MaxDescription),
		Keywords:    cleanKeywords(members.Keywords, tag, keywords),
		AltText:     clean(text(members.AltText), maxAltText),
	}
	words := a.Title + " " + a.Description + " " + a.AltText + " " + strings.Join(a.Keywords, " ")
	if !strings.ContainsFunc(words, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }) {
		return Answer{}, unusable("empty")
	}
	if !written(words, tag) {
		return Answer{}, unusable("in the script of another language")
	}
	return a, nil
}

// objectIn returns the JSON object in an answer, without reasoning before it and code fences around it.
func objectIn(content string) (string, error) {
	if content = strings.TrimSpace(content); json.Valid([]byte(content)) {
		return content, nil // "<think>" inside a text is part of it
	}
	content = reasoning.ReplaceAllString(content, "")
	// Some templates open the reasoning in the prompt, so that the answer only closes it.
	if ends := closing.FindAllStringIndex(content, -1); ends != nil {
		content = content[ends[len(ends)-1][1]:]
	}
	if opening.MatchString(content) {
		return "", unusable("reasoning without an end")
	}
	start, end := strings.IndexByte(content, '{'), strings.LastIndexByte(content, '}')
	if start < 0 || end < start {
		return "", unusable("not a JSON object")
	}
	return content[start : end+1], nil
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// clean returns a text of a model as one line of at most limit bytes, without characters that are invisible, change
// the direction of the text around them, or could hide a message. The joiners ZWJ and ZWNJ, which Persian, Indic scripts
// and emoji need, and variation selectors stay where they follow a visible character.
func clean(s string, limit int) string {
	s = s[:min(len(s), 8*limit)] // truncated before the work, not after it
	var b strings.Builder
	last := ' '
	for _, r := range s {
		switch {
		case r == utf8.RuneError:
			continue
		case joins(r):
			if joins(last) || last == ' ' {
				continue
			}
		case unicode.IsSpace(r) || unicode.Is(unicode.Zs, r):
			if last == ' ' {
				continue
			}
			r = ' '
		case !unicode.IsGraphic(r) || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
			continue
		}
		b.WriteRune(r)
		last = r
	}
	return strings.TrimRightFunc(cut(b.String(), limit), func(r rune) bool { return r == ' ' || r == '\u200c' || r == '\u200d' })
}

// joins reports whether a character is invisible but changes how its neighbors are displayed.
func joins(r rune) bool { return r == '\u200c' || r == '\u200d' || r >= '\ufe00' && r <= '\ufe0f' }

// cut shortens a text to at most limit bytes, between words if possible.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	if space := strings.LastIndexByte(s[:end+1], ' '); space > limit/2 {
		end = space
	}
	return s[:end]
}

// cleanKeywords returns the keywords of a list or of a text, without duplicates, whose case does not matter.
func cleanKeywords(v any, tag language.Tag, count int) []string {
	items, _ := v.([]any)
	if s, ok := v.(string); ok {
		items = []any{s}
	}
	base, _ := tag.Base()
	list := []string{}
	all := 0
	for _, item := range items {
		for keyword := range strings.FieldsFuncSeq(cut(text(item), maxAllKeywords), separates) {
			keyword = clean(strings.Map(func(r rune) rune {
				if r == '|' || r == '/' || r == '\\' {
					return ' ' // catalogues read them as levels
				}
				return r
			}, keyword), 2*maxKeyword)
			keyword = clean(strings.TrimLeft(strings.Trim(keyword, `"'.`), "#-*• "), 2*maxKeyword)
			if base.String() == "en" {
				keyword = strings.ToLower(keyword)
			}
			if keyword == "" || len(keyword) > maxKeyword || slices.ContainsFunc(list, func(k string) bool { return strings.EqualFold(k, keyword) }) {
				continue
			}
			if all += len(keyword); len(list) >= count || all > maxAllKeywords {
				return list
			}
			list = append(list, keyword)
		}
	}
	return list
}

// separates reports whether a character separates keywords: commas, semicolons and line breaks, also those of Arabic,
// Chinese and Japanese.
func separates(r rune) bool {
	return strings.ContainsRune(",;\n\r\u060c\u061b\u3001\uff0c\uff1b\u2028\u2029", r)
}

// scripts are the writing systems of scripts that have several, by their code in ISO 15924.
var scripts = map[string][]string{
	"Jpan": {"Han", "Hiragana", "Katakana"}, "Kore": {"Hangul", "Han"}, "Hans": {"Han"}, "Hant": {"Han"},
	"Arab": {"Arabic"}, "Armn": {"Armenian"}, "Beng": {"Bengali"}, "Cyrl": {"Cyrillic"}, "Deva": {"Devanagari"},
	"Ethi": {"Ethiopic"}, "Geor": {"Georgian"}, "Grek": {"Greek"}, "Gujr": {"Gujarati"}, "Guru": {"Gurmukhi"},
	"Hebr": {"Hebrew"}, "Khmr": {"Khmer"}, "Knda": {"Kannada"}, "Laoo": {"Lao"}, "Latn": {"Latin"}, "Mlym": {"Malayalam"},
	"Mymr": {"Myanmar"}, "Orya": {"Oriya"}, "Sinh": {"Sinhala"}, "Taml": {"Tamil"}, "Telu": {"Telugu"}, "Thai": {"Thai"},
}

// written reports whether at least half of the letters belong to the script of a language. It detects the usual fault
// of multilingual models, which is another script, and not another language in the same script.
func written(s string, tag language.Tag) bool {
	script, _ := tag.Script()
	var tables []*unicode.RangeTable
	for _, name := range scripts[script.String()] {
		tables = append(tables, unicode.Scripts[name])
	}
	if tables == nil {
		return true
	}
	letters, own := 0, 0
	for _, r := range s {
		if unicode.IsLetter(r) {
			letters++
			if unicode.In(r, tables...) {
				own++
			}
		}
	}
	return 2*own >= letters
}

// reply is the part of a response that is read.
type reply struct {
	Choices []struct {
		Message struct {
			Content json.RawMessage `json:"content"`
			Refusal string          `json:"refusal"`
		} `json:"message"`
		FinishReason string    `json:"finish_reason"`
		Error        *apiError `json:"error"` // OpenRouter
	} `json:"choices"`
	Usage struct {
		PromptTokens     float64 `json:"prompt_tokens"`
		CompletionTokens float64 `json:"completion_tokens"`
	} `json:"usage"`
}

// content returns the text of a message: a string, or the text parts of a list.
func content(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var parts []struct {
		Type, Text string
	}
	_ = json.Unmarshal(raw, &parts) // Anything else is an empty answer.
	var b strings.Builder
	for _, p := range parts {
		if p.Type == "text" {
			b.WriteString(p.Text)
		}
	}
	return b.String()
}

// answer returns the answer in a response. Its errors are unusable and refused.
func (r reply) answer(tag language.Tag, keywords int) (Answer, error) {
	if len(r.Choices) == 0 {
		return Answer{}, unusable("no choice")
	}
	choice := r.Choices[0]
	if choice.Message.Refusal != "" {
		return Answer{}, errRefused
	}
	if reason := choice.FinishReason; reason == "length" || reason == "content_filter" {
		return Answer{}, unusable(fmt.Sprintf("finish_reason %s", reason))
	}
	return parse(content(choice.Message.Content), tag, keywords)
}
