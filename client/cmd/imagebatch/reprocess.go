package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/imagebatch/imagebatch/client"
)

// reprocessOptions are the flags of reprocess.
type reprocessOptions struct {
	images                                        []int
	captions, noCaptions, uncaptionedOnly, noWait bool
}

func (a *app) reprocessCommand() *cobra.Command {
	var o reprocessOptions
	cmd := &cobra.Command{
		Use: "reprocess JOB...", Short: "Process images of ended jobs again, in new jobs", Args: cobra.MinimumNArgs(1),
		Long: `Process images of ended jobs again, in new jobs, and wait for them. The gateway uses the originals that it has kept, or else the
processed files. The old jobs and their results stay as they are; save the new results with get.

With --uncaptioned-only, the new jobs have only the images that should have a caption and have none, for example because the
vision model was not available. A job without such images is skipped.`,
		Example: `  imagebatch list --uncaptioned
  imagebatch reprocess --uncaptioned-only JOB
  imagebatch reprocess --images 0,3 --no-captions JOB`,
		RunE: func(cmd *cobra.Command, ids []string) error {
			if err := o.check(ids); err != nil {
				return err
			}
			c, err := a.connect(manyRetries)
			if err != nil {
				return err
			}
			return eachJob(cmd.Context(), ids, func(id string) (int, error) { return a.reprocess(cmd.Context(), c, id, o) })
		},
	}
	flags := cmd.Flags()
	flags.IntSliceVar(&o.images, "images", nil, "only the images with these numbers, from 0, as status --json shows them")
	flags.BoolVar(&o.uncaptionedOnly, "uncaptioned-only", false, "only the images that should have a caption and have none")
	flags.BoolVar(&o.captions, "captions", false, "let the vision model see the images, also those of a job that kept them from it")
	flags.BoolVar(&o.noCaptions, "no-captions", false, "let no vision model see the images")
	flags.BoolVar(&o.noWait, "no-wait", false, "print the IDs of the new jobs and do not wait for them")
	return cmd
}

// check returns an error for flags that contradict each other.
func (o *reprocessOptions) check(ids []string) error {
	switch {
	case o.captions && o.noCaptions:
		return &usageError{errors.New("--captions and --no-captions contradict each other")}
	case o.uncaptionedOnly && o.noCaptions:
		return &usageError{errors.New("--uncaptioned-only is for captions, and --no-captions allows none")}
	case o.images != nil && o.uncaptionedOnly:
		return &usageError{errors.New("--images and --uncaptioned-only both choose the images")}
	case o.images != nil && len(ids) > 1:
		return &usageError{errors.New("--images needs exactly one job")}
	}
	return nil
}

// reprocess creates a job from images of another one, and follows it.
func (a *app) reprocess(ctx context.Context, c *client.Client, id string, o reprocessOptions) (int, error) {
	images := o.images
	if o.uncaptionedOnly {
		job, err := c.Job(ctx, id)
		if err != nil {
			return 0, err
		}
		if !job.Status.Ended() {
			return 0, &usageError{fmt.Errorf("it has not ended: %s; use watch to wait for it", job.Status)}
		}
		for i := range job.Images {
			if job.Images[i].Uncaptioned {
				images = append(images, job.Images[i].Index)
			}
		}
		if len(images) == 0 {
			a.note("job %s has no image without a caption", id)
			return exitOK, nil
		}
	}
	var options []client.JobOption
	if o.captions || o.noCaptions {
		options = append(options, client.WithCaptions(o.captions))
	}
	job, err := c.Reprocess(ctx, id, images, options...)
	if err != nil {
		return 0, err
	}
	if o.noWait {
		if a.json {
			return exitOK, a.print(jobLine{"job", job})
		}
		return exitOK, a.line(job.ID)
	}
	a.note("job %s processes images of %s again", job.ID, id)
	return a.follow(ctx, c, job.ID)
}
