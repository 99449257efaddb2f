package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// target is a gateway that is attacked.
type target struct {
	url    string // without a slash at its end
	host   string
	client *http.Client
	dir    string  // where its data lie, when the tool started it; else empty
	origin *origin // that it may fetch from; nil: none
}

func newTarget(address string) (*target, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("GATEWAY %q: want http://host:port", address)
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), "80")
	}
	return &target{url: "http://" + u.Host, host: host, client: &http.Client{
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (a reply) String() string { return fmt.Sprintf("%d %.200s", a.status, a.body) }

func (t *target) do(ctx context.Context, method, path string, body io.Reader, header ...string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, t.url+path, body)
	if err != nil {
		return reply{}, fmt.Errorf("make request: %w", err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return reply{}, fmt.Errorf("send request: %w", err)
	}
	return read(resp)
}

func read(resp *http.Response) (reply, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return reply{}, fmt.Errorf("read answer: %w", err)
	}
	return reply{resp.StatusCode, resp.Header, body}, nil
}

// refused holds an answer against what a refusal looks like: one of the statuses,
// and the documented shape of errors.
func refused(a reply, err error, statuses ...int) error {
	if err != nil {
		return err
	}
	if !slices.Contains(statuses, a.status) {
		return fmt.Errorf("got %s, want one of %v", a, statuses)
	}
	var shape struct {
		Error  string `json:"error"`
		Status int    `json:"status"`
	}
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&shape); err != nil || shape.Error == "" || shape.Status != a.status || a.header.Get("Content-Type") != "application/json" {
		return fmt.Errorf("got %s of type %q, which is not the documented shape", a, a.header.Get("Content-Type"))
	}
	return nil
}

// dial opens a connection that nothing polite stands in the way of. It ends with
// ctx, and by itself after a while.
func (t *target) dial(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", t.host)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	deadline := time.Now().Add(45 * time.Second)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	return conn, conn.SetDeadline(deadline)
}

// raw sends bytes as they are and reads one answer.
func (t *target) raw(ctx context.Context, request string) (reply, error) {
	conn, err := t.dial(ctx)
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	// An early answer may come before everything is written.
	go func() { _, _ = io.WriteString(conn, request) }() // ends with the connection
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return reply{}, fmt.Errorf("read answer: %w", err)
	}
	return read(resp)
}

// outcome is an image as the API tells it.
type outcome struct {
	Name      string `json:"original_filename"`
	Status    string `json:"status"`
	TraceID   string `json:"trace_id"`
	Path      string `json:"processed_path"`
	Error     string `json:"error"`
	ErrorCode string `json:"error_code"`

	Milliseconds int64 `json:"duration_ms"`
}

// job is a job as the API tells it.
type job struct {
	ID     string    `json:"job_id"`
	Status string    `json:"status"`
	Images []outcome `json:"images"`
}

// source is an image of a request.
type source struct {
	URL    string `json:"url,omitempty"`
	Base64 string `json:"base64,omitempty"`
	Name   string `json:"name,omitempty"`
}

func inline(data []byte) source { return source{Base64: base64.StdEncoding.EncodeToString(data)} }

// submit sends a batch and returns its id.
func (t *target) submit(ctx context.Context, images ...source) (string, error) {
	body, err := json.Marshal(map[string]any{"images": images})
	if err != nil {
		return "", fmt.Errorf("write batch: %w", err)
	}
	a, err := t.do(ctx, http.MethodPost, "/api/v1/batch", bytes.NewReader(body), "Content-Type", "application/json")
	if err != nil {
		return "", err
	}
	var made job
	if a.status != http.StatusCreated || json.Unmarshal(a.body, &made) != nil || made.ID == "" {
		return "", fmt.Errorf("batch not accepted: %s", a)
	}
	return made.ID, nil
}

// process sends a batch and waits for its end.
func (t *target) process(ctx context.Context, images ...source) (*job, error) {
	id, err := t.submit(ctx, images...)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		a, err := t.do(ctx, http.MethodGet, "/api/v1/batch/"+id, nil)
		if err != nil {
			return nil, err
		}
		var j job
		if err := json.Unmarshal(a.body, &j); err != nil || len(j.Images) != len(images) {
			return nil, fmt.Errorf("job is %s", a)
		}
		if j.Status != "pending" && j.Status != "processing" {
			return &j, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("job %s is still %s: %w", id, j.Status, ctx.Err())
		}
	}
}

// alive says why the gateway does no honest work, if it doesn't.
func (t *target) alive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	a, err := t.do(ctx, http.MethodGet, "/healthz", nil)
	if err != nil || a.status != http.StatusOK {
		return fmt.Errorf("/healthz: %s, %w", a, err)
	}
	j, err := t.process(ctx, inline(photograph))
	if err != nil {
		return fmt.Errorf("a good batch: %w", err)
	}
	if j.Status != "completed" || !strings.HasPrefix(j.Images[0].Path, j.Images[0].TraceID+"/") {
		return fmt.Errorf("a good batch: %+v", j)
	}
	return nil
}
