package service

import (
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// setting is a variable with its effective value.
type setting struct {
	name, value string
	whole       bool   // value is complete: no part is hidden, and all parts of the process agree on it
	source      string // environment, file or default
	everywhere  bool   // the variable belongs to every service
}

// WriteConfig writes the effective configuration as NAME=value lines that a shell can
// read back. A trailing comment names each value's source: environment, file or
// default. config is a struct that [Load] returned. The variables of all services come
// first, then the others in the order of their fields. A line becomes a comment if its
// value is incomplete: a secret, a URL without its password, or a variable whose value
// differs between the parts of a process.
func WriteConfig(w io.Writer, config any, environ []string) error {
	vars := env.ToMap(environ)
	var list, rest []*setting
	known := map[string]*setting{}
	collect(reflect.ValueOf(config), func(s setting) {
		before, seen := known[s.name]
		switch {
		case !seen:
			known[s.name] = &s
			s.source = source(vars, s.name)
			if s.everywhere {
				list = append(list, &s)
			} else {
				rest = append(rest, &s)
			}
		case !s.everywhere && before.value != s.value:
			before.value, before.whole = before.value+", "+s.value, false
		}
	})
	for _, s := range append(list, rest...) {
		line := s.name + "=" + s.value
		if s.whole {
			line = s.name + "=" + quoted(s.value)
		} else {
			line = "# " + quotedRemark(line)
		}
		if _, err := fmt.Fprintf(w, "%-44s # %s\n", line, s.source); err != nil {
			return err
		}
	}
	return nil
}

// source returns where the value of a variable comes from.
func source(vars map[string]string, name string) string {
	switch file := vars[name+"_FILE"]; {
	case vars[name] != "":
		return "environment"
	case file != "":
		return "file " + quotedRemark(file)
	}
	return "default"
}

// collect calls found for each field that is read from the environment, in the order
// of [Variables].
func collect(config reflect.Value, found func(setting)) {
	t := config.Type()
	for i := range t.NumField() {
		field, value := t.Field(i), config.Field(i)
		if tag, ok := field.Tag.Lookup("env"); ok {
			name, _, _ := strings.Cut(tag, ",")
			text, whole := written(value)
			found(setting{name: name, value: text, whole: whole, everywhere: t == reflect.TypeFor[Base]()})
		} else if field.Type.Kind() == reflect.Struct {
			collect(value, found)
		}
	}
}

// written returns a value in the form that the environment uses, and whether no part
// of it is hidden.
func written(v reflect.Value) (text string, whole bool) {
	if v.Kind() == reflect.Slice {
		var parts []string
		whole = true
		for i := range v.Len() {
			part, all := written(v.Index(i))
			parts, whole = append(parts, part), whole && all
		}
		return strings.Join(parts, ","), whole
	}
	if d, ok := reflect.TypeAssert[time.Duration](v); ok {
		return brief(d), true
	}
	text = fmt.Sprint(v.Interface())
	if v.Kind() != reflect.String {
		return text, true
	}
	if shown := SecretURL(text).shown(); strings.Contains(text, "://") && shown != text {
		text = shown // Any URL may contain a password.
	}
	return text, text == v.String()
}

// brief formats a duration without zero units: 24h, not 24h0m0s.
func brief(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// tame matches a value that needs no quoting in a shell.
var tame = regexp.MustCompile(`^[\w./:,@%+=-]*$`)

// control matches the characters that would break or garble a line.
var control = regexp.MustCompile(`[\x00-\x1f\x7f]`)

// quoted quotes a value for a shell, on one line.
func quoted(value string) string {
	switch {
	case tame.MatchString(value):
		return value
	case control.MatchString(value):
		value = strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value)
		return "$'" + control.ReplaceAllStringFunc(value, func(c string) string { return fmt.Sprintf(`\x%02x`, c) }) + "'"
	}
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

// quotedRemark removes control characters from a comment, so that it stays on one line.
func quotedRemark(text string) string { return control.ReplaceAllLiteralString(text, "?") }
