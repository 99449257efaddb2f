// Command oapi-codegen processes one image with a client that oapi-codegen has generated from
// docs/openapi.yaml. A test of deployments/standalone generates the client into a copy of this
// folder, so the program does not compile here. It prints the status of the image and the members
// of its record.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"os"
	"slices"

	// The generated client also needs this module.
	_ "github.com/oapi-codegen/runtime"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

// run sends the image at the URL to the server, waits until its job has ended, and reads the
// results.
func run(ctx context.Context, server, url string) error {
	client, err := NewClientWithResponses(server)
	if err != nil {
		return err
	}
	created, err := client.CreateBatchWithResponse(ctx, &CreateBatchParams{IdempotencyKey: new("order 4711")}, NewBatch{
		Images:   []NewImage{{URL: &url, CustomID: new("2026/beach.jpg")}},
		Metadata: &BatchMetadata{"album": "Summer"},
	})
	if err != nil {
		return err
	}
	if created.JSON201 == nil {
		return fmt.Errorf("create: %s", created.Body)
	}
	id := created.JSON201.JobID

	var job Job
	for known := (&GetJobParams{}); job.Status != JobStatusCompleted; {
		got, err := client.GetJobWithResponse(ctx, id, known)
		if err != nil {
			return err
		}
		switch got.StatusCode() {
		case http.StatusOK:
			job = *got.JSON200
			known.IfNoneMatch, known.Prefer = new(got.HTTPResponse.Header.Get("ETag")), new("wait=30")
		case http.StatusNotModified:
		default:
			return fmt.Errorf("get: %s", got.Body)
		}
		if job.Status == JobStatusFailed || job.Status == JobStatusCancelled {
			return fmt.Errorf("the job is %s: %s", job.Status, got.Body)
		}
	}

	image := (*job.Images)[0]
	record, err := client.GetImageMetadataWithResponse(ctx, id, image.Index, &GetImageMetadataParams{})
	if err != nil {
		return err
	}
	if record.JSON200 == nil {
		return fmt.Errorf("record: %s", record.Body)
	}
	file, err := client.GetImageFile(ctx, id, image.Index, &GetImageFileParams{Range: new("bytes=0-1")})
	if err != nil {
		return err
	}
	defer file.Body.Close()
	start, err := io.ReadAll(file.Body)
	if err != nil {
		return err
	}
	fmt.Println(image.Status, *image.CustomID, (*job.Metadata)["album"], record.JSON200.OriginalFilename)
	fmt.Println(slices.Sorted(maps.Keys(record.JSON200.AdditionalProperties)))
	fmt.Printf("%d %x\n", file.StatusCode, start)

	missing, err := client.GetImageSidecarWithResponse(ctx, id, 7, &GetImageSidecarParams{})
	if err != nil {
		return err
	}
	fmt.Println(missing.JSON404.Status, missing.JSON404.Error)
	return nil
}
