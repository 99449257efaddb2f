package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/imagebatch/imagebatch/client"
)

// The lines of --json. The type distinguishes them.

type jobLine struct {
	Type string `json:"type"` // job
	client.Job
}

type imageLine struct {
	Type   string `json:"type"` // image
	JobID  string `json:"job_id,omitempty"`
	Index  int    `json:"index"`
	Path   string `json:"path,omitempty"` // local file that was sent
	URL    string `json:"url,omitempty"`
	Status string `json:"status"`
	Output string `json:"output,omitempty"` // local file that was written

	CustomID         string `json:"custom_id,omitempty"`
	OriginalFilename string `json:"original_filename,omitempty"`
	Error            string `json:"error,omitempty"`
	ErrorCode        string `json:"error_code,omitempty"`
	Uncaptioned      bool   `json:"uncaptioned,omitempty"`
}

// eachJob calls f for each of the job IDs, and goes on after an error. It returns the error
// that counts most.
func eachJob(ctx context.Context, ids []string, f func(id string) (code int, err error)) error {
	code := exitOK
	var failed []error
	for _, id := range ids {
		one, err := f(id)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			if _, done := errors.AsType[*outcome](err); !done {
				failed = append(failed, fmt.Errorf("job %s: %w", id, err))
			}
			one = severityOf(err)
		}
		code = worse(code, one)
	}
	return ended(code, errors.Join(failed...))
}

// ended returns the error of a command that did its work with this exit code.
func ended(code int, err error) error {
	switch {
	case err != nil:
		return &codedError{err, code}
	case code != exitOK:
		return &outcome{code}
	}
	return nil
}

// codedError is an error with an exit code of its own.
type codedError struct {
	error
	code int
}

func (e *codedError) Unwrap() []error { return []error{&outcome{e.code}, e.error} }

// printJob prints a job, in one line or as JSON.
func (a *app) printJob(job client.Job) error {
	if a.json {
		return a.print(jobLine{"job", job})
	}
	return a.line(fmt.Sprintf("%s  %s", job.ID, stateText(job)))
}

// stateText formats the status of a job and its numbers of images.
func stateText(job client.Job) string {
	text := fmt.Sprintf("%-10s  %3d/%d", job.Status, job.Completed+job.Failed, job.Total)
	if job.Failed > 0 {
		text += fmt.Sprintf("  %d failed", job.Failed)
	}
	if job.Uncaptioned > 0 {
		text += fmt.Sprintf("  %d uncaptioned", job.Uncaptioned)
	}
	return text
}

// printFailure prints an image that failed.
func (a *app) printFailure(name, text string) error {
	return a.line(fmt.Sprintf("%s: %s", name, text))
}

// nameOf returns what messages call an image of a job.
func nameOf(img *client.JobImage) string {
	if img.CustomID != "" {
		return img.CustomID
	}
	return img.OriginalFilename
}

func (a *app) watchCommand() *cobra.Command {
	return &cobra.Command{
		Use: "watch JOB...", Short: "Follow jobs until they have ended", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			c, err := a.connect(manyRetries)
			if err != nil {
				return err
			}
			return eachJob(cmd.Context(), ids, func(id string) (int, error) { return a.follow(cmd.Context(), c, id) })
		},
	}
}

// follow shows a job until it has ended.
func (a *app) follow(ctx context.Context, c *client.Client, id string) (int, error) {
	var b *bar
	defer func() {
		if b != nil {
			b.close()
		}
	}()
	for e, err := range c.Watch(ctx, id) {
		if err != nil {
			return 0, err
		}
		if b == nil {
			b = a.startBar(e.Total, 0)
		}
		b.set(e.Total, e.Completed+e.Failed, e.Failed)
		if img := e.Image; img != nil {
			if err := a.printImage(id, img); err != nil {
				return 0, err
			}
		}
	}
	job, err := c.Job(ctx, id)
	if err != nil {
		return 0, err
	}
	b.close()
	b = nil
	return codeOf(job), a.printJob(job)
}

// printImage prints an image of a job: with --json each, otherwise those that failed.
func (a *app) printImage(jobID string, img *client.JobImage) error {
	if a.json {
		return a.print(imageLine{
			Type: "image", JobID: jobID, Index: img.Index, Status: string(img.Status), CustomID: img.CustomID,
			OriginalFilename: img.OriginalFilename, Error: img.Error, ErrorCode: img.ErrorCode, Uncaptioned: img.Uncaptioned,
		})
	}
	if img.Status == client.Failed {
		return a.printFailure(nameOf(img), img.Error)
	}
	return nil
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status JOB...", Short: "Print the state of jobs, and their images that failed or have no caption", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			c, err := a.connect(fewRetries)
			if err != nil {
				return err
			}
			return eachJob(cmd.Context(), ids, func(id string) (int, error) {
				job, err := c.Job(cmd.Context(), id)
				if err != nil {
					return 0, err
				}
				if err := a.printJob(job); err != nil || a.json {
					return codeOf(job), err
				}
				for i := range job.Images {
					img := &job.Images[i]
					text := img.Error
					if img.Uncaptioned {
						text = "no caption"
					}
					if img.Status != client.Failed && !img.Uncaptioned {
						continue
					}
					if err := a.printFailure("  "+nameOf(img), text); err != nil {
						return 0, err
					}
				}
				return codeOf(job), nil
			})
		},
	}
}

func (a *app) cancelCommand() *cobra.Command {
	return &cobra.Command{
		Use: "cancel JOB...", Short: "Cancel jobs", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			c, err := a.connect(fewRetries)
			if err != nil {
				return err
			}
			return eachJob(cmd.Context(), ids, func(id string) (int, error) {
				job, err := c.Cancel(cmd.Context(), id)
				if err != nil {
					return 0, err
				}
				return exitOK, a.printJob(job)
			})
		},
	}
}

func (a *app) retryCommand() *cobra.Command {
	var noWait bool
	cmd := &cobra.Command{
		Use: "retry JOB...", Short: "Process the failed images of jobs again, in new jobs", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			c, err := a.connect(manyRetries)
			if err != nil {
				return err
			}
			return eachJob(cmd.Context(), ids, func(id string) (int, error) {
				job, err := c.Retry(cmd.Context(), id)
				if err != nil {
					return 0, err
				}
				if noWait {
					if a.json {
						return exitOK, a.print(jobLine{"job", job})
					}
					return exitOK, a.line(job.ID)
				}
				a.note("job %s repeats the failed images of %s", job.ID, id)
				return a.follow(cmd.Context(), c, job.ID)
			})
		},
	}
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "print the ID of the new job and do not wait for it")
	return cmd
}

func (a *app) listCommand() *cobra.Command {
	var (
		options      client.ListOptions
		statuses     []string
		since, until string
		most         int
	)
	cmd := &cobra.Command{
		Use: "list", Short: "List jobs, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, s := range statuses {
				options.Status = append(options.Status, client.Status(s))
			}
			var err error
			if options.CreatedAfter, err = parseTime("--since", since); err != nil {
				return err
			}
			if options.CreatedBefore, err = parseTime("--until", until); err != nil {
				return err
			}
			if most < 0 {
				return &usageError{errors.New("--limit must not be negative")}
			}
			c, err := a.connect(fewRetries)
			if err != nil {
				return err
			}
			options.WithoutImages = true
			if most > 0 {
				options.PageSize = min(most, 100)
			}
			n := 0
			for job, err := range c.List(cmd.Context(), options) {
				if err != nil {
					return err
				}
				if err := a.printListed(job); err != nil {
					return err
				}
				if n++; n == most {
					return nil
				}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&statuses, "status", nil, "only jobs with one of these statuses: pending, processing, completed, failed, cancelled")
	flags.BoolVar(&options.FailedImages, "failed-images", false, "only jobs with failed images")
	flags.BoolVar(&options.Uncaptioned, "uncaptioned", false, "only jobs with images that should have a caption and have none")
	flags.StringVar(&since, "since", "", "only jobs created at or after this time (2026-11-28, 2026-11-28T18:00:00Z), or in the last 24h, 90m")
	flags.StringVar(&until, "until", "", "only jobs created before this time")
	flags.StringVar(&options.RetryOf, "retry-of", "", "only retries of this job")
	flags.StringVar(&options.Owner, "owner", "", "only jobs of the API key with this name")
	flags.StringVar(&options.Upload, "upload", "", "only jobs whose metadata has this value of upload")
	flags.StringVar(&options.Search, "search", "", "only jobs whose ID starts with this text, or with an image whose name or custom_id contains it")
	flags.BoolVar(&options.OldestFirst, "oldest", false, "oldest first")
	flags.IntVarP(&most, "limit", "n", 20, "print at most this many jobs; 0 prints all")
	return cmd
}

func (a *app) printListed(job client.Job) error {
	if a.json {
		return a.printJob(job)
	}
	return a.line(fmt.Sprintf("%s  %s  %s", job.ID, job.CreatedAt.Local().Format(time.DateTime), stateText(job)))
}

// parseTime reads a date, a time, or a duration before now.
func parseTime(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return t, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return time.Now().Add(-d), nil
	}
	return time.Time{}, &usageError{fmt.Errorf("%s: %q is not a date, a time like 2026-11-28T18:00:00Z or a duration like 24h", flag, text)}
}

// similarLine is a group of similar images.
type similarLine struct {
	Type string `json:"type"` // group
	client.Group
}

func (a *app) similarCommand() *cobra.Command {
	var distance int
	cmd := &cobra.Command{
		Use: "similar JOB", Short: "List images of a job that look alike", Args: cobra.ExactArgs(1),
		Long: `List images of a job that look alike, a group in each paragraph. A star marks the image that the gateway suggests to keep.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if distance < 0 || distance > 16 {
				return &usageError{errors.New("--distance must be 0 to 16")}
			}
			c, err := a.connect(fewRetries)
			if err != nil {
				return err
			}
			groups, err := c.Similar(cmd.Context(), args[0], distance)
			if err != nil {
				return err
			}
			if a.json {
				for _, g := range groups {
					if err := a.print(similarLine{"group", g}); err != nil {
						return err
					}
				}
				return nil
			}
			job, err := c.Job(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.printGroups(job, groups)
		},
	}
	cmd.Flags().IntVar(&distance, "distance", 10, "how much the images of a group may differ, 0 to 16")
	return cmd
}

func (a *app) printGroups(job client.Job, groups []client.Group) error {
	for i, g := range groups {
		text := fmt.Sprintf("%s, distance %d:", g.Kind, g.Distance)
		if i > 0 {
			text = "\n" + text
		}
		for _, img := range g.Images {
			mark, name := " ", fmt.Sprintf("images[%d]", img.Index)
			if img.Suggested {
				mark = "*"
			}
			if img.Index >= 0 && img.Index < len(job.Images) {
				name = nameOf(&job.Images[img.Index])
			}
			text += fmt.Sprintf("\n%s %s", mark, strings.ReplaceAll(name, "\n", "?"))
		}
		if err := a.line(text); err != nil {
			return err
		}
	}
	return nil
}
