package client

import (
	"context"
	"time"
)

// WithSleep replaces waiting.
func WithSleep(f func(context.Context, time.Duration) error) Option {
	return func(c *Client) { c.sleep = f }
}

// WithStall sets the time that a read may take.
func WithStall(d time.Duration) Option { return func(c *Client) { c.stall = d } }
