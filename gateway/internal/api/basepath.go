package api

import (
	"errors"
	"strings"
)

// CheckBasePath returns an error if path cannot be the base path of a server.
func CheckBasePath(path string) error {
	switch segments, ok := strings.CutPrefix(path, "/"); {
	case path == "":
		return nil
	case path == "/":
		return errors.New("want no value to serve from the root")
	case !ok:
		return errors.New("want a slash at the start, such as /images")
	case strings.HasSuffix(path, "/"):
		return errors.New("want no slash at the end, such as /images")
	case len(path) > 256:
		return errors.New("want at most 256 bytes")
	default:
		return checkSegments(segments)
	}
}

func checkSegments(path string) error {
	first, _, _ := strings.Cut(path, "/")
	if first == "healthz" || first == "readyz" || first == "metrics" {
		return errors.New("want another name: /healthz, /readyz and /metrics are served there")
	}
	for segment := range strings.SplitSeq(path, "/") {
		switch {
		case segment == "":
			return errors.New("want one slash between two segments, such as /team/images")
		case segment == "." || segment == "..":
			return errors.New("want no segment . or .., which clients remove")
		case strings.Trim(segment, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") != "":
			return errors.New("want only letters, digits and -._~ between the slashes, such as /team/images")
		}
	}
	return nil
}
