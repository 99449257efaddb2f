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

// setting is a variable with the value that counts.
type setting struct {
	name, value string
	whole       bool   // the value is all there: nothing of it is hidden, and it is one
	source      string // who has set it
	everywhere  bool   // every service has it
}

// WriteConfig writes a configuration as it counts, in lines NAME=value that a shell
// reads back, each with a remark whence the value comes: from the environment, from
// a file, or from nowhere, which is the default. config is a struct as [Load]
// returns it; the variables that all services have come first, then the others as
// they stand in it. What is not the whole value is a remark itself: a secret, a URL
// without its password, and a variable of which the parts of a process make
// different things.
func WriteConfig(w io.Writer, config any, environ []string) error {
	vars := env.ToMap(environ)
	var list, rest []*setting
	known := map[string]*setting{}
	collect(reflect.ValueOf(config), func(s setting) {
		before, told := known[s.name]
		switch {
		case !told:
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

// source tells who has set a variable.
func source(vars map[string]string, name string) string {
	switch file := vars[name+"_FILE"]; {
	case vars[name] != "":
		return "environment"
	case file != "":
		return "file " + quotedRemark(file)
	}
	return "default"
}

// collect goes through the fields that the environment sets, in the order of
// [Variables].
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

// written is a value as the environment would hold it, and whether nothing of it is
// hidden.
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
		text = shown // Some people put passwords into any URL.
	}
	return text, text == v.String()
}

// brief is a duration as people write it: 24h and not 24h0m0s.
func brief(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// tame is a value that a shell takes as it stands.
var tame = regexp.MustCompile(`^[\w./:,@%+=-]*$`)

// control is what does not belong into a line.
var control = regexp.MustCompile(`[\x00-\x1f\x7f]`)

// quoted is the value as a shell reads it, on one line.
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

// quotedRemark keeps a remark on its line.
func quotedRemark(text string) string { return control.ReplaceAllLiteralString(text, "?") }
