package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/client"
)

// demo is a stand-in for a gateway with one job of two images. The examples use it; with a
// real gateway, its address takes the place of demo().
func demo() string {
	const job = `{"job_id":"550e8400-e29b-41d4-a716-446655440000","status":"completed","total_images":2,"completed":1,"failed":1,"progress":100.0,` +
		`"uncaptioned":1,"images":[{"index":0,"custom_id":"beach.jpg","original_filename":"beach.jpg","status":"completed","uncaptioned":true},` +
		`{"index":1,"original_filename":"gone.jpg","status":"failed","error":"Failed to download image: status code 404","error_code":"download_failed"}],` +
		`"created_at":"2026-11-28T18:00:00Z"}`
	answers := map[string]string{
		"/api/v1/batch": "application/json " + `{"jobs":[` + job + `]}`,
		"/api/v1/batch/550e8400-e29b-41d4-a716-446655440000":           "application/json " + job,
		"/api/v1/batch/550e8400-e29b-41d4-a716-446655440000/reprocess": "application/json {}",
		"/api/v1/batch/550e8400-e29b-41d4-a716-446655440000/results.jsonl": "application/jsonl " +
			`{"index":0,"original_filename":"beach.jpg","status":"completed","metadata":{"title":"Sunrise in Spain"}}` + "\n" +
			`{"index":1,"original_filename":"gone.jpg","status":"failed","error":"Failed to download image: status code 404","error_code":"download_failed"}` + "\n",
		"/api/v1/batch/550e8400-e29b-41d4-a716-446655440000/images/0/file": "image/jpeg JPEG",
		"/api/v1/limits": "application/json " + `{"max_images":100,"max_image_bytes":10485760,"formats":["jpeg","png"],"keys":false,` +
			`"captions":{"model":"gemma3:4b","host":"ollama:11434","pixels":768}}`,
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, body, known := strings.Cut(answers[r.URL.Path], " ")
		if !known {
			kind, body = "application/json", `{"error":"Not found","status":404}`
		}
		w.Header().Set("Content-Type", kind)
		switch {
		case !known:
			w.WriteHeader(http.StatusNotFound)
		case r.Method == http.MethodPost:
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusCreated)
			body = `{"job_id":"550e8400-e29b-41d4-a716-446655440000","status":"pending","created_at":"2026-11-28T18:00:00Z","message":"Batch job created with 2 images"}`
		}
		_, _ = io.WriteString(w, body)
	}))
	return s.URL
}

// Send images, wait for the job, and save the results.
func Example() {
	ctx, stop := context.WithTimeout(context.Background(), time.Hour)
	defer stop()
	c, err := client.New(demo())
	if err != nil {
		log.Fatal(err)
	}
	job, err := c.Create(ctx, []client.Image{
		client.Bytes("beach.jpg", []byte("…")), // or client.File("photos/beach.jpg")
		client.URL("https://example.com/gone.jpg"),
	})
	if err != nil {
		log.Fatal(err)
	}
	if job, err = c.Wait(ctx, job.ID); err != nil {
		log.Fatal(err)
	}
	for _, img := range job.Images {
		if img.Status != client.Completed {
			fmt.Println(img.OriginalFilename, "failed:", img.Error)
			continue
		}
		var file bytes.Buffer // or os.Create
		n, err := c.Download(ctx, job.ID, img.Index, client.ProcessedFile, &file)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(img.OriginalFilename, "has", n, "bytes")
	}
	// Output:
	// beach.jpg has 4 bytes
	// gone.jpg failed: Failed to download image: status code 404
}

// A program that must not process a batch twice, even if it crashes, stores the key before it
// sends the batch, and sends the batch again with the same key after a restart.
func ExampleWithIdempotencyKey() {
	c, err := client.New(demo(), client.WithAPIKey(os.Getenv("IMAGEBATCH_API_KEY")))
	if err != nil {
		log.Fatal(err)
	}
	key := "order 4711" // or client.NewIdempotencyKey(), stored in a database
	images := []client.Image{client.URL("https://example.com/a.jpg"), client.URL("https://example.com/b.jpg")}
	job, err := c.Create(context.Background(), images, client.WithIdempotencyKey(key), client.WithMetadata(map[string]string{"album": "Summer"}))
	fmt.Println(job.Status, job.Total, err)
	// Output: pending 2 <nil>
}

// Watch yields an event for each image when it ends.
func ExampleClient_Watch() {
	c, err := client.New(demo())
	if err != nil {
		log.Fatal(err)
	}
	for e, err := range c.Watch(context.Background(), "550e8400-e29b-41d4-a716-446655440000") {
		if err != nil {
			log.Fatal(err)
		}
		if e.Image != nil {
			fmt.Println(e.Image.OriginalFilename, e.Image.Status)
		}
		if e.Type == client.JobCompleteEvent {
			fmt.Printf("%d of %d completed\n", e.Completed, e.Total)
		}
	}
	// Output:
	// beach.jpg completed
	// gone.jpg failed
	// 1 of 2 completed
}

// Results returns the record of each image.
func ExampleClient_Results() {
	c, err := client.New(demo())
	if err != nil {
		log.Fatal(err)
	}
	for r, err := range c.Results(context.Background(), "550e8400-e29b-41d4-a716-446655440000") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d %s: %s%s\n", r.Index, r.Status, r.Metadata, r.ErrorCode)
	}
	// Output:
	// 0 completed: {"title":"Sunrise in Spain"}
	// 1 failed: download_failed
}

// List requests page after page, as the loop needs them.
func ExampleClient_List() {
	c, err := client.New(demo())
	if err != nil {
		log.Fatal(err)
	}
	options := client.ListOptions{FailedImages: true, CreatedAfter: time.Now().Add(-24 * time.Hour), WithoutImages: true}
	for job, err := range c.List(context.Background(), options) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(job.ID, job.Failed)
	}
	// Output: 550e8400-e29b-41d4-a716-446655440000 1
}

// Before a program sends images, it can show which vision model gets copies of them, and keep private ones
// from it.
func ExampleWithCaptions() {
	ctx := context.Background()
	c, err := client.New(demo())
	if err != nil {
		log.Fatal(err)
	}
	limits, err := c.Limits(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if m := limits.Captions; m != nil {
		fmt.Printf("Copies of %d pixels go to %s at %s\n", m.Pixels, m.Model, m.Host)
	}
	passport := client.Bytes("passport.jpg", []byte("…"))
	job, err := c.Create(ctx, []client.Image{passport}, client.WithCaptions(false))
	fmt.Println(job.Status, err)
	// Output:
	// Copies of 768 pixels go to gemma3:4b at ollama:11434
	// pending <nil>
}

// After an outage of the vision model, List finds the jobs with images that have no caption, and Reprocess
// asks the model about these images again.
func ExampleClient_Reprocess() {
	ctx := context.Background()
	c, err := client.New(demo())
	if err != nil {
		log.Fatal(err)
	}
	for job, err := range c.List(ctx, client.ListOptions{Uncaptioned: true}) {
		if err != nil {
			log.Fatal(err)
		}
		var images []int
		for _, img := range job.Images {
			if img.Uncaptioned {
				images = append(images, img.Index)
			}
		}
		again, err := c.Reprocess(ctx, job.ID, images)
		fmt.Println(len(images), "of", job.Total, "again:", again.Status, err)
	}
	// Output: 1 of 2 again: pending <nil>
}

// An Error has the status and the text of the gateway.
func ExampleError() {
	c, err := client.New(demo())
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.Job(context.Background(), "00000000-0000-4000-8000-000000000000")
	if e, ok := errors.AsType[*client.Error](err); ok {
		fmt.Println(e.Status, e.Text)
	}
	// Output: 404 Not found
}
