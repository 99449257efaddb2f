package vision

import (
	"context"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"time"
)

// The time between two probes of a model that has not accepted an image yet. It doubles, because a probe counts as a
// request of the day.
const (
	firstProbeInterval = time.Minute
	maxProbeInterval   = 16 * time.Minute
)

// Run sends one built-in image to each model to find wrong configurations early, and again, less and less often, to a
// model that has not accepted an image yet or whose breaker is open, until ctx ends. These requests are not among those that
// Config.Concurrency limits: a model that hangs must not keep images from waiting for it, and from giving up.
func (c *Client) Run(ctx context.Context) error {
	picture, err := encode(builtIn())
	if err != nil {
		return err
	}
	for interval := firstProbeInterval; ; interval = min(2*interval, maxProbeInterval) {
		probed := false
		for _, m := range c.models {
			if m.needsProbe() {
				c.probe(ctx, m, picture)
				probed = true
			}
		}
		if !probed {
			interval = firstProbeInterval
		}
		timer := time.NewTimer(interval)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// probe finds out whether a model accepts images. A server that rejects the built-in image rejects all images. One that
// fails with it, twice, and answers the same request without an image in between, has no model that accepts them. If
// the breaker is open, images have failed already.
func (c *Client) probe(ctx context.Context, m *model, picture []byte) {
	var s spent
	try := func(picture []byte) (*fault, bool) {
		_, err := c.request(ctx, m, m.nextForm(), 0, picture, &s)
		f, isFault := errors.AsType[*fault](err)
		_, isUnusable := errors.AsType[unusable](err)
		return f, !isFault && (err == nil || isUnusable || errors.Is(err, errRefused))
	}
	_, err := c.negotiate(ctx, m, 0, picture, &s)
	unavailable, ok := errors.AsType[*Unavailable](err)
	f, isFault := errors.AsType[*fault](err)
	switch {
	case isFault && f.outcome == rejected:
		m.rejects("the built-in image is rejected: "+f.detail, c.now())
	case ok && !unavailable.Own && (!s.first.IsZero() || m.open()):
		if _, answers := try(nil); !answers {
			return // the server is unavailable
		}
		if again, _ := try(picture); again != nil && again.outcome == failed {
			m.rejects("the model answers texts but fails with images: "+again.detail, c.now())
		}
	}
}

// builtIn returns an image that every vision model can describe: a red disk on a light background.
func builtIn() image.Image {
	const side, radius = 224, 72
	m := image.NewRGBA(image.Rect(0, 0, side, side))
	draw.Draw(m, m.Rect, image.NewUniform(color.Gray{Y: 235}), image.Point{}, draw.Src)
	for y := range side {
		for x := range side {
			if dx, dy := x-side/2, y-side/2; dx*dx+dy*dy < radius*radius {
				m.Set(x, y, color.RGBA{R: 200, G: 30, B: 30, A: 255})
			}
		}
	}
	return m
}
