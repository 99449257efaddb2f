package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"github.com/imagebatch/imagebatch/client"
)

// getOptions are the flags of get.
type getOptions struct {
	out, zip string
	include  []string
	force    bool
}

func (a *app) getCommand() *cobra.Command {
	var o getOptions
	cmd := &cobra.Command{
		Use: "get JOB...", Short: "Save the results of jobs that have ended", Args: cobra.MinimumNArgs(1),
		Long: `Save the results of jobs that have ended. Without --out and --zip, print one JSON object for each image, with the record
of what was found in it.`,
		RunE: func(cmd *cobra.Command, ids []string) error { return a.get(cmd.Context(), ids, o) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.out, "out", "o", "", "save the results in this folder")
	flags.StringVar(&o.zip, "zip", "", "save the results in this ZIP file")
	flags.StringSliceVar(&o.include, "include", nil, "what to save: file, metadata, xmp, thumbnail (default file; with --zip file,metadata)")
	flags.BoolVarP(&o.force, "force", "f", false, "replace existing files")
	return cmd
}

func (a *app) get(ctx context.Context, ids []string, o getOptions) (err error) {
	kinds, err := parseInclude(o.include)
	if err != nil {
		return err
	}
	c, err := a.connect(manyRetries)
	if err != nil {
		return err
	}
	if o.zip != "" && !o.force {
		if _, err := os.Lstat(o.zip); err == nil {
			return &localError{fmt.Errorf("%s exists; use --force to replace it", o.zip)}
		}
	}
	var saved *folder
	if o.out != "" {
		if len(kinds) == 0 {
			kinds = []client.Kind{client.ProcessedFile}
		}
		if saved, err = openFolder(o.out, kinds, o.force); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, saved.close()) }()
	}
	zipped := &archive{path: o.zip, include: kinds}
	err = eachJob(ctx, ids, func(id string) (int, error) {
		job, err := c.Job(ctx, id)
		if err != nil {
			return 0, err
		}
		if !job.Status.Ended() {
			return 0, &usageError{fmt.Errorf("it has not ended: %s; use watch to wait for it", job.Status)}
		}
		zipped.add(id)
		switch {
		case saved != nil:
			err = a.saveJob(ctx, c, job, saved)
		case o.zip == "":
			err = a.printResults(ctx, c, id)
		}
		return codeOf(job), err
	})
	if code := severityOf(err); o.zip == "" || err != nil && code != exitImagesFailed && code != exitJobFailed {
		return err
	}
	return errors.Join(zipped.write(ctx, c), err)
}

// saveJob saves the results of a job in a folder.
func (a *app) saveJob(ctx context.Context, c *client.Client, job client.Job, f *folder) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b := a.startBar(job.Total, 0)
	defer b.close()
	room := make(chan struct{}, downloads)
	var wg sync.WaitGroup
	for i := range job.Images {
		img := &job.Images[i]
		if img.Status != client.Completed {
			b.ended(1, 1)
			if err := a.printImage(job.ID, img); err != nil {
				cancel(err)
			}
			continue
		}
		name := f.take(safePath(img)) // here, so that a second run chooses the same
		room <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-room }()
			_, err := f.save(ctx, c, job.ID, img.Index, name)
			if err == nil && a.json {
				err = a.print(imageLine{
					Type: "image", JobID: job.ID, Index: img.Index, Status: string(img.Status), CustomID: img.CustomID,
					OriginalFilename: img.OriginalFilename, Output: filepath.Join(f.root.Name(), filepath.FromSlash(name)),
				})
			}
			if err != nil {
				cancel(err)
			}
			b.ended(1, 0)
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// resultLine is a result with its job.
type resultLine struct {
	Type  string `json:"type"` // result
	JobID string `json:"job_id"`
	client.Result
}

func (a *app) printResults(ctx context.Context, c *client.Client, id string) error {
	for r, err := range c.Results(ctx, id) {
		if err != nil {
			return err
		}
		if err := a.print(resultLine{"result", id, r}); err != nil {
			return err
		}
	}
	return nil
}
