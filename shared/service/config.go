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

// Load reads a configuration from NAME=value lines according to its env tags. It uses
// github.com/caarlos0/env because that library reports every mistake at once and has
// few dependencies. If NAME_FILE is set, the value is the content of that file without a
// byte order mark and trailing newlines, because orchestrators provide secrets as files.
// Setting both variables is a mistake. (With the library's own "file" option, a variable is
// always one or the other.) complete may also change the configuration. The returned error
// lists every mistake, including those that complete returns, one per line.
func Load[C any](environ []string, complete func(*C) error) (C, error) {
	vars := env.ToMap(environ)
	fileErr := readFiles[C](vars)
	c, err := env.ParseAsWithOptions[C](env.Options{Environment: vars})
	var list []error
	if fileErr != nil {
		list = append(list, fileErr)
	}
	var unread []string // variables without a value; what complete reports about them is wrong
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

// once removes repeated errors.
func once(list []error) []error {
	said := map[string]bool{}
	return slices.DeleteFunc(list, func(err error) bool {
		before := said[err.Error()]
		said[err.Error()] = true
		return before
	})
}

// readFiles sets the variables in the tags of C whose NAME_FILE variable is set to
// the content of that file.
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
		vars[name] = strings.TrimRight(strings.TrimPrefix(string(text), "\ufeff"), "\r\n")
	}
	return errors.Join(errs...)
}

// Default sets a variable to value if environ sets neither it nor its _FILE variable.
func Default(environ []string, name, value string) []string {
	vars := env.ToMap(environ)
	if vars[name] != "" || vars[name+"_FILE"] != "" {
		return environ
	}
	return append(slices.Clone(environ), name+"="+value)
}

// Variable is a field that is read from the environment.
type Variable struct {
	Field, Name, Default string
	Type                 reflect.Type
}

// Variables lists the fields with env tags in a struct and in the structs embedded or
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

// named replaces the field in a parse error with its variable, which the operator
// knows, and adds the values that the variable accepts.
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

// wanted describes the values that a type accepts.
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

// without returns the lines of err that do not concern the given variables.
func without(err error, variables []string) (list []error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if name, _, _ := strings.Cut(strings.ReplaceAll(line, ":", " "), " "); !slices.Contains(variables, name) {
			list = append(list, errors.New(line))
		}
	}
	return list
}

// LocalURL returns the URL at which a service on this machine is reached if it
// listens on addr.
func LocalURL(addr string) (string, error) {
	host, port, err := splitListen(addr)
	if err != nil {
		return "", err
	}
	return "http://" + host + ":" + port, nil
}

// splitListen splits a listening address into a host and port that can be dialed. An
// empty or unspecified host becomes 127.0.0.1.
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
