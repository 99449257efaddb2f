package download

import (
	"net/http"
	"net/textproto"
	"slices"

	"golang.org/x/net/http/httpguts"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Limits of the header fields that a client may choose for a URL.
const (
	MaxHeaders     = 8
	MaxHeaderBytes = 8 << 10 // names and values of one image together
)

// headerNames lists the header fields that a client may choose. Others could change what the
// request means, or reach what an origin reserves for its own proxies.
var headerNames = []string{"Authorization", "Referer", "User-Agent"}

// CheckHeaders returns the header fields that a client has chosen for a URL, by canonical name.
// An empty value counts as absent. The error is a [*pipeline.Failure]; it contains no value.
func (c *Client) CheckHeaders(fields map[string]string) (http.Header, error) {
	chosen, size := http.Header{}, 0
	for name, value := range fields {
		size += len(name) + len(value)
		if value == "" {
			continue
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		if !slices.Contains(headerNames, name) || chosen[name] != nil || !httpguts.ValidHeaderFieldValue(value) {
			return nil, InvalidHeaders()
		}
		chosen[name] = []string{value}
	}
	switch {
	case len(fields) > MaxHeaders || size > MaxHeaderBytes:
		return nil, InvalidHeaders()
	case len(chosen) > 0 && !c.config.AllowHeaders:
		return nil, notAllowed("Headers not allowed: this server sends no headers of clients to image URLs")
	}
	return chosen, nil
}

// InvalidHeaders returns the failure of an image whose header fields must not be sent.
func InvalidHeaders() *pipeline.Failure {
	return notAllowed("Invalid headers: want Authorization, Referer and User-Agent, each a string, of 8192 bytes at most together")
}
