package deadletters

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/deadletter"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

const (
	// answerTime is more than a gateway needs to copy the originals of a retry.
	answerTime = 150 * time.Second
	// maxAnswer limits how much of a response body is read.
	maxAnswer = 8 << 20
	// maxBusy is the maximum number of tries of a request whose response has Retry-After.
	maxBusy = 5
	// maxRetryAfter limits the wait before each of these tries.
	maxRetryAfter = 10 * time.Second
)

// client sends requests to a gateway.
type client struct {
	base string
	key  string // API key, or empty
	http *http.Client
}

func newClient(base, key string) *client {
	return &client{base: strings.TrimSuffix(base, "/"), key: key, http: &http.Client{Timeout: answerTime}}
}

// refusal is an error response of the gateway.
type refusal struct {
	Status int    `json:"status"`
	Text   string `json:"error"`
}

func (r *refusal) Error() string { return fmt.Sprintf("gateway returned %d: %s", r.Status, r.Text) }

// Job returns the statuses of a job, or nil if it is unknown.
func (c *client) Job(ctx context.Context, id string) (*job.Job, error) {
	var found struct {
		Status job.Status `json:"status"`
		Images []struct {
			Status    job.Status       `json:"status"`
			TraceID   pipeline.TraceID `json:"trace_id"`
			ErrorCode string           `json:"error_code"`
		} `json:"images"`
	}
	err := c.ask(ctx, http.MethodGet, "/api/v1/batch/"+url.PathEscape(id), "", &found)
	if r, ok := errors.AsType[*refusal](err); ok && r.Status == http.StatusNotFound {
		return nil, nil //nolint:nilnil // An unknown job is not an error.
	}
	if err != nil {
		return nil, fmt.Errorf("get job %.64s: %w", id, err)
	}
	j := &job.Job{Status: found.Status}
	for _, img := range found.Images {
		j.Images = append(j.Images, job.Image{Status: img.Status, TraceID: img.TraceID, ErrorCode: img.ErrorCode})
	}
	return j, nil
}

// Retry creates the one new job of a job's failed images, or finds the job that was
// already created, and returns its ID.
func (c *client) Retry(ctx context.Context, id string) (string, error) {
	var created struct {
		JobID string `json:"job_id"`
	}
	err := c.ask(ctx, http.MethodPost, "/api/v1/batch/"+url.PathEscape(id)+"/retry", deadletter.RetryKey(id), &created)
	if r, ok := errors.AsType[*refusal](err); ok && slices.Contains(final, r.Status) {
		return "", &deadletter.RefusedError{Text: r.Text}
	}
	if err == nil && created.JobID == "" {
		err = errors.New("the response contains no job ID")
	}
	if err != nil {
		return "", fmt.Errorf("retry job %.64s: %w", id, err)
	}
	return created.JobID, nil
}

// final lists the statuses with which the gateway permanently rejects a retry of a job.
var final = []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity}

// ask sends a request, and repeats it while the gateway returns Retry-After. It decodes
// a successful response into out and returns any other response as a *refusal.
func (c *client) ask(ctx context.Context, method, path, key string, out any) error {
	for n := 1; ; n++ {
		later, err := c.askOnce(ctx, method, path, key, out)
		if later == 0 || n == maxBusy {
			return err
		}
		select {
		case <-time.After(min(later, maxRetryAfter)):
		case <-ctx.Done():
			return err
		}
	}
}

// askOnce sends a request once. later is the value of Retry-After, or 0.
func (c *client) askOnce(ctx context.Context, method, path, key string, out any) (later time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return 0, err
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, fmt.Errorf("read response: %w", err)
	}
	if resp.StatusCode >= http.StatusOK && resp.StatusCode < http.StatusMultipleChoices {
		if err := json.Unmarshal(body, out); err != nil {
			return 0, fmt.Errorf("read response: %w", err)
		}
		return 0, nil
	}
	r := &refusal{}
	if err := json.Unmarshal(body, r); err != nil || r.Text == "" {
		r.Text = "response is not from a gateway" // from a proxy or another service
	}
	r.Status = resp.StatusCode
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		later = time.Duration(seconds) * time.Second
	}
	return later, r
}
