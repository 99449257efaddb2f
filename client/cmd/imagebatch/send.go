package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imagebatch/imagebatch/client"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/journal"
)

// sendOptions are the flags of send.
type sendOptions struct {
	recursive, noWait, dryRun, resume, force bool
	noCaptions                               bool
	urlFile, out, zip, journal               string
	include, metadata                        []string
	parallel, retries                        int
}

// journalName is the journal of send in the folder of outputs. It differs from that of folder,
// whose paths are relative to another place.
const journalName = ".imagebatch-send.jsonl"

func (a *app) sendCommand() *cobra.Command {
	var o sendOptions
	cmd := &cobra.Command{
		Use:   "send [PATH...|-]",
		Short: "Send images, wait for the results and save them",
		Long: `Send images, wait for the results and save them.

PATH is a file, or with -r a folder; - is an image on standard input. More images than the gateway accepts in one batch
become several jobs. The custom ID of an image is its path, with the name of the folder: photos/beach/1.jpg.

With --out, each processed image is saved under that path. A file that exists and was not written by imagebatch is
never replaced without --force. A journal, OUT/` + journalName + ` or --journal FILE, records what was sent: after an
interruption, the same command with --resume continues, sends no batch twice, and saves what was missing.`,
		Example: `  imagebatch send -r photos --out processed
  imagebatch send -r photos --out processed --resume
  imagebatch send --url-file urls.txt --zip results.zip
  job=$(imagebatch send --no-wait beach.jpg)`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.send(cmd.Context(), args, o) },
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.recursive, "recursive", "r", false, "send the images in folders; other files are counted and skipped, hidden ones ignored")
	flags.StringVar(&o.urlFile, "url-file", "", "send the image URLs in this file, one per line; - is standard input")
	flags.StringVarP(&o.out, "out", "o", "", "save the results in this folder")
	flags.StringVar(&o.zip, "zip", "", "save the results in this ZIP file")
	flags.StringSliceVar(&o.include, "include", nil, "what to save: file, metadata, xmp, thumbnail (default file; with --zip file,metadata)")
	flags.StringArrayVar(&o.metadata, "metadata", nil, "attach NAME=VALUE to each job; may be repeated")
	flags.BoolVar(&o.noCaptions, "no-captions", false, "let no vision model see the images")
	flags.BoolVar(&o.noWait, "no-wait", false, "print the IDs of the jobs and do not wait for the results")
	flags.BoolVar(&o.dryRun, "dry-run", false, "print what would be sent, and send nothing")
	flags.BoolVar(&o.resume, "resume", false, "continue an interrupted run of the same command")
	flags.StringVar(&o.journal, "journal", "", "record what was sent in this file, for --resume (default in OUT)")
	flags.BoolVarP(&o.force, "force", "f", false, "replace existing files")
	_ = cmd.RegisterFlagCompletionFunc("include", cobra.FixedCompletions([]string{"file", "metadata", "xmp", "thumbnail"}, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	flags.IntVarP(&o.parallel, "parallel", "p", 3, "jobs in progress at the same time, 1 to 16")
	flags.IntVar(&o.retries, "retries", manyRetries, "repeat a request this often while the gateway is not available, 0 to 10000")
	return cmd
}

// check returns an error for flags that contradict each other.
func (o *sendOptions) check(args []string) error {
	stdin := 0
	for _, arg := range append(args, o.urlFile) {
		if arg == "-" {
			stdin++
		}
	}
	switch {
	case stdin > 1:
		return &usageError{errors.New("standard input can be used only once")}
	case len(args) == 0 && o.urlFile == "":
		return &usageError{errors.New("nothing to send: name files, folders with -r, or --url-file")}
	case o.noWait && (o.out != "" || o.zip != ""):
		return &usageError{errors.New("--no-wait saves no results; use get when the jobs have ended")}
	case o.resume && o.out == "" && o.journal == "":
		return &usageError{errors.New("--resume needs the --out or the --journal of the interrupted run")}
	case o.parallel < 1 || o.parallel > 16:
		return &usageError{errors.New("--parallel must be 1 to 16")}
	case o.retries < 0 || o.retries > 10_000:
		return &usageError{errors.New("--retries must be 0 to 10000")}
	}
	return nil
}

func (o *sendOptions) pairs() (map[string]string, error) {
	pairs := map[string]string{}
	for _, text := range o.metadata {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, &usageError{fmt.Errorf("--metadata: %q is not NAME=VALUE", text)}
		}
		pairs[name] = value
	}
	return pairs, nil
}

func (a *app) send(ctx context.Context, args []string, o sendOptions) (err error) {
	if err := o.check(args); err != nil {
		return err
	}
	metadata, err := o.pairs()
	if err != nil {
		return err
	}
	kinds, err := parseInclude(o.include)
	if err != nil {
		return err
	}
	first := fewRetries // for a person who sees no progress yet
	if o.retries != manyRetries {
		first = o.retries
	}
	limits, err := a.limits(ctx, first)
	if err != nil {
		return err
	}
	found := collector{recursive: o.recursive, out: o.out, limits: limits, stdin: a.stdin}
	if err := found.collect(args, o.urlFile); err != nil {
		return err
	}
	if o.out != "" || o.journal != "" {
		if err := unique(found.items); err != nil {
			return err
		}
	}
	c, err := a.connect(o.retries)
	if err != nil {
		return err
	}
	if o.noCaptions {
		limits.Captions = nil
	}
	s := &sender{a: a, c: c, options: o, limits: limits, metadata: metadata, found: found.collection}
	if o.dryRun {
		address, err := a.address()
		if err != nil {
			return err
		}
		return s.dryRun(address)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.open(kinds); err != nil {
		return err
	}
	err = s.run(ctx)
	if _, ok := interruption(ctx); ok || severityOf(err) == exitUnreachable && err != nil {
		s.explain(args)
	}
	return err
}

// limits returns the limits of the gateway, and those of the specification for a gateway that
// does not report them.
func (a *app) limits(ctx context.Context, retries int) (client.Limits, error) {
	c, err := a.connect(retries)
	if err != nil {
		return client.Limits{}, err
	}
	limits, err := c.Limits(ctx)
	if e, ok := errors.AsType[*client.Error](err); ok && e.Status == http.StatusNotFound {
		return client.Limits{MaxImages: 100, MaxImageBytes: 10 << 20, Formats: []string{"jpeg", "png"}}, nil
	}
	if err == nil && (limits.MaxImages < 1 || limits.MaxImageBytes < 1) {
		err = fmt.Errorf("limits of the gateway are invalid: %+v", limits)
	}
	return limits, err
}

// unique returns an error if two files have the same custom ID, under which the journal and the
// output would confuse them.
func unique(items []*item) error {
	names := map[string]*item{}
	for _, i := range items {
		if other := names[i.id]; other != nil {
			return &usageError{fmt.Errorf("%s and %s have the same name, %s; send them in two runs", other.name(), i.name(), i.id)}
		}
		names[i.id] = i
	}
	return nil
}

// open opens the journal, the folder and the ZIP file.
func (s *sender) open(kinds []client.Kind) error {
	o := s.options
	if o.zip != "" && !o.force {
		if _, err := os.Lstat(o.zip); err == nil {
			return &localError{fmt.Errorf("%s exists; use --force to replace it", o.zip)}
		}
	}
	if o.zip != "" {
		s.archive = &archive{path: o.zip, include: kinds}
	}
	if o.out != "" {
		if len(kinds) == 0 {
			kinds = []client.Kind{client.ProcessedFile}
		}
		var err error
		if s.folder, err = openFolder(o.out, kinds, o.force); err != nil {
			return err
		}
	}
	path := o.journal
	if path == "" && o.out != "" {
		path = filepath.Join(o.out, journalName)
	}
	if path == "" {
		return nil
	}
	if o.resume {
		if _, err := os.Stat(path); err != nil {
			return &localError{fmt.Errorf("nothing to resume: %w", err)}
		}
	}
	var err error
	if s.journal, err = journal.Open(path); err != nil {
		return &localError{err}
	}
	if s.folder != nil {
		s.folder.journal = s.journal
	}
	return nil
}

func (s *sender) close() error {
	var err error
	if s.journal != nil {
		err = local(s.journal.Close())
	}
	if s.folder != nil {
		err = errors.Join(err, s.folder.close())
	}
	if s.archive != nil {
		err = errors.Join(err, s.archive.clean())
	}
	return err
}

// explain prints how to continue after an interruption.
func (s *sender) explain(args []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.journal != nil {
		s.a.note("Continue with: %s", s.resumeCommand(args))
		return
	}
	if len(s.openJobs) > 0 {
		s.a.note("The gateway still processes what it has received. Follow it with: imagebatch watch %s", strings.Join(s.openJobs, " "))
	}
	if s.unsent > 0 {
		s.a.note("%d images were not sent. With --out or --journal, --resume can continue.", s.unsent)
	}
}

// resumeCommand returns the command line that continues this run.
func (s *sender) resumeCommand(args []string) string {
	o, words := s.options, []string{"imagebatch", "send", "--resume"}
	add := func(given bool, more ...string) {
		if given {
			words = append(words, more...)
		}
	}
	add(s.a.url != "", "--url", s.a.url)
	add(s.a.json, "--json")
	add(s.a.quiet, "--quiet")
	add(o.recursive, "-r")
	add(o.urlFile != "", "--url-file", o.urlFile)
	add(o.out != "", "--out", o.out)
	add(o.zip != "", "--zip", o.zip)
	add(len(o.include) > 0, "--include", strings.Join(o.include, ","))
	for _, pair := range o.metadata {
		add(true, "--metadata", pair)
	}
	add(o.noCaptions, "--no-captions")
	add(o.noWait, "--no-wait")
	add(o.journal != "", "--journal", o.journal)
	add(o.force, "--force")
	add(o.parallel != 3, "--parallel", fmt.Sprint(o.parallel))
	add(o.retries != manyRetries, "--retries", fmt.Sprint(o.retries))
	if slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "-") && arg != "-" }) {
		words = append(words, "--")
	}
	for i, word := range append(words, args...) {
		if i < len(words) {
			words[i] = quote(word)
		} else {
			words = append(words, quote(word))
		}
	}
	return strings.Join(words, " ")
}

// quote quotes a word for a POSIX shell, if necessary.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,+@%", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// dryRunLine is what --dry-run reports about the whole run.
type dryRunLine struct {
	Type     string           `json:"type"` // dry_run
	Images   int              `json:"images"`
	Bytes    int64            `json:"bytes"`
	Jobs     int              `json:"jobs"`
	Skipped  int              `json:"skipped"`
	TooLarge int              `json:"too_large"`
	URL      string           `json:"url"`
	Captions *client.Captions `json:"captions,omitempty"`
}

func (s *sender) dryRun(address string) error {
	line := dryRunLine{Type: "dry_run", Skipped: s.found.skipped, URL: address, Captions: s.limits.Captions}
	for _, i := range s.found.items {
		if s.tooLarge(i) {
			line.TooLarge++
		} else {
			line.Images++
			line.Bytes += i.size
		}
		if s.a.json {
			status := "pending"
			if s.tooLarge(i) {
				status = "too_large"
			}
			if err := s.a.print(imageLine{Type: "image", Path: i.path, URL: i.url, CustomID: i.id, Status: status}); err != nil {
				return err
			}
		}
	}
	line.Jobs = (line.Images + s.limits.MaxImages - 1) / s.limits.MaxImages
	err := s.reportErrors()
	if s.a.json {
		return errors.Join(s.a.print(line), err)
	}
	text := fmt.Sprintf("Would send %s (%s) in %s to %s", count(line.Images, "image"), bytesText(line.Bytes), count(line.Jobs, "job"), address)
	if line.TooLarge > 0 {
		text += fmt.Sprintf("; %d too large (more than %s)", line.TooLarge, bytesText(s.limits.MaxImageBytes))
	}
	if line.Skipped > 0 {
		text += fmt.Sprintf("; %s skipped, not an image", count(line.Skipped, "file"))
	}
	switch {
	case line.Images == 0:
	case s.options.noCaptions:
		text += "\nNo pictures go to a vision model"
	case line.Captions != nil:
		text += "\n" + captionsText(line.Images, line.Captions)
	}
	return errors.Join(s.a.line(text), err)
}

// captionsText says what goes where for captions. It is an upper bound: the model sees no image whose file has
// all texts, or whose answer is stored. With 0 images, their number is not known.
func captionsText(images int, m *client.Captions) string {
	what, size, verb := "Pictures", "reduced", "go"
	if images > 0 {
		what = "Up to " + count(images, "picture")
	}
	if images == 1 {
		verb = "goes"
	}
	if m.Pixels > 0 {
		size = fmt.Sprintf("%d px", m.Pixels)
	}
	return fmt.Sprintf("%s, %s, no EXIF or GPS, %s to %s at %s", what, size, verb, m.Model, m.Host)
}

// count formats a number of things, like 1 image or 2 images.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
