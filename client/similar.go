package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// Group is a group of images of one job that look alike.
type Group struct {
	Kind     string       `json:"kind"`     // "exact" or "similar"
	Distance int          `json:"distance"` // largest difference within the group, 0 to 16
	Images   []GroupImage `json:"images"`
}

// GroupImage is an image of a [Group].
type GroupImage struct {
	Index     int    `json:"index"`
	CustomID  string `json:"custom_id,omitempty"`
	Suggested bool   `json:"suggested"` // the one to keep
}

// Similar returns the groups of similar images of a job. The distance, 0 to 16, is how much the
// images of a group may differ; 10 finds the same image in another size or quality.
func (c *Client) Similar(ctx context.Context, id string, distance int) ([]Group, error) {
	var response struct {
		Groups []Group `json:"groups"`
	}
	query := url.Values{"distance": {strconv.Itoa(distance)}}
	_, err := c.call(ctx, request{method: http.MethodGet, path: []string{"batch", id, "similar"}, query: query}, &response)
	return response.Groups, err
}
