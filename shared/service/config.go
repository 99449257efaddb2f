package service

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Load reads a configuration from NAME=value lines by its env tags (see
// github.com/caarlos0/env, chosen for reporting every mistake at once and for
// its few dependencies). Where NAME_FILE is set, the value is the content of that
// file, as orchestrators hand out secrets, without the newline that editors leave
// at its end; setting both is a mistake. (The library's own option, "file", makes
// a variable one or the other.) Everything that is wrong is in the error, one mistake a line, and so is what complete returns, which
// may also change the configuration.
func Load[C any](environ []string, complete func(*C) error) (C, error) {
	vars := env.ToMap(environ)
	fileErr := readFiles[C](vars)
	c, err := env.ParseAsWithOptions[C](env.Options{Environment: vars})
	var list []error
	if fileErr != nil {
		list = append(list, fileErr)
	}
	var unread []string // variables that have no value, of which complete can say nothing true
	if aggregate, ok := errors.AsType[env.AggregateError](err); ok {
		for _, err := range aggregate.Errors {
			name, err := named[C](err, vars)
			list, unread = append(list, err), append(unread, name)
		}
	} else if err != nil {
		list = append(list, err)
	}
	if err := complete(&c); err != nil {
		list = append(list, without(err, unread)...)
	}
	if len(list) > 0 {
		return c, fmt.Errorf("configuration:\n%w", errors.Join(once(list)...))
	}
	return c, nil
}

// once leaves out what was said before.
func once(list []error) []error {
	said := map[string]bool{}
	return slices.DeleteFunc(list, func(err error) bool {
		before := said[err.Error()]
		said[err.Error()] = true
		return before
	})
}

// readFiles fills vars from the files that NAME_FILE variables name, for every
// NAME in the tags of C.
func readFiles[C any](vars map[string]string) error {
	var errs []error
	done := map[string]bool{} // several parts of a process may have the same variable
	for _, v := range Variables(reflect.TypeFor[C]()) {
		name := v.Name
		file := vars[name+"_FILE"]
		if file == "" || done[name] {
			continue
		}
		done[name] = true
		if vars[name] != "" {
			errs = append(errs, fmt.Errorf("%s and %[1]s_FILE: set one of them", name))
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s_FILE: %w", name, err))
			continue
		}
		vars[name] = strings.TrimRight(string(text), "\r\n")
	}
	return errors.Join(errs...)
}

// Default gives a variable a value where the environment gives it none, by itself
// or by a file.
func Default(environ []string, name, value string) []string {
	vars := env.ToMap(environ)
	if vars[name] != "" || vars[name+"_FILE"] != "" {
		return environ
	}
	return append(slices.Clone(environ), name+"="+value)
}

// Variable is a field that the environment sets.
type Variable struct {
	Field, Name, Default string
	Type                 reflect.Type
}

// Variables lists the fields with env tags of a struct and of those embedded or
// nested in it.
func Variables(t reflect.Type) []Variable {
	var list []Variable
	for field := range t.Fields() {
		if tag, ok := field.Tag.Lookup("env"); ok {
			name, _, _ := strings.Cut(tag, ",")
			list = append(list, Variable{field.Name, name, field.Tag.Get("envDefault"), field.Type})
		} else if field.Type.Kind() == reflect.Struct {
			list = append(list, Variables(field.Type)...)
		}
	}
	return list
}

// named makes an error about a field one about its variable, which is what the
// operator knows, and says what the value should be.
func named[C any](err error, vars map[string]string) (name string, _ error) {
	parse, ok := errors.AsType[env.ParseError](err)
	if !ok {
		return "", err
	}
	for _, v := range Variables(reflect.TypeFor[C]()) {
		if v.Field == parse.Name {
			return v.Name, fmt.Errorf("%s %q: want %s", v.Name, vars[v.Name], wanted(parse.Type))
		}
	}
	return "", err
}

// wanted describes the values of a type.
func wanted(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a duration such as 90s or 24h"
	case t == reflect.TypeFor[[]netip.Prefix]():
		return "networks in CIDR form such as 10.0.0.0/8, separated by commas"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64:
		return "a whole number"
	default:
		return "a " + t.String()
	}
}

// without returns the lines of err that are not about the variables.
func without(err error, variables []string) (list []error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if name, _, _ := strings.Cut(strings.ReplaceAll(line, ":", " "), " "); !slices.Contains(variables, name) {
			list = append(list, errors.New(line))
		}
	}
	return list
}

// LocalURL is where a service on this machine answers that has the listening
// address addr.
func LocalURL(addr string) (string, error) {
	host, port, err := splitListen(addr)
	if err != nil {
		return "", err
	}
	return "http://" + host + ":" + port, nil
}

// splitListen turns a listening address into one that can be dialled: an empty
// or unspecified host is this machine.
func splitListen(addr string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(addr)
	if err != nil {
		return "", "", err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host, port, nil
}
