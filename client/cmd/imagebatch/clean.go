package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imagebatch/imagebatch/shared/embed"
)

// maxCleaned is the largest file that clean reads, in bytes.
const maxCleaned = 1 << 30

// cleanOptions are the flags of clean.
type cleanOptions struct {
	all, signed, backup, dryRun bool
}

// cleanLine is the result for one file.
type cleanLine struct {
	Type    string   `json:"type"` // clean
	Path    string   `json:"path"`
	Status  string   `json:"status"` // cleaned, unchanged or failed
	DryRun  bool     `json:"dry_run,omitempty"`
	Removed []string `json:"removed,omitempty"` // fields whose texts were removed
	Values  bool     `json:"measured_values,omitempty"`
	Backup  string   `json:"backup,omitempty"` // where the file as it was is kept
	Error   string   `json:"error,omitempty"`
}

func (a *app) cleanCommand() *cobra.Command {
	var o cleanOptions
	cmd := &cobra.Command{
		Use: "clean FILE...", Short: "Remove the texts that Imagebatch wrote into image files", Args: cobra.MinimumNArgs(1),
		Long: `Remove the titles, descriptions, keywords and alternative texts that Imagebatch wrote into image files and that are unchanged
since, from all their places, with their marks. Texts that a person wrote or edited stay, and so do the pixels and all other
metadata. No gateway is needed.`,
		RunE: func(cmd *cobra.Command, files []string) error { return a.clean(cmd.Context(), files, o) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.all, "all", false, "also remove the measured values")
	flags.BoolVar(&o.signed, "signed", false, "also clean files with Content Credentials, whose signature then no longer fits")
	flags.BoolVar(&o.backup, "backup", false, "keep each file as it was, as FILE_original")
	flags.BoolVarP(&o.dryRun, "dry-run", "n", false, "only print what would be removed")
	return cmd
}

func (a *app) clean(ctx context.Context, files []string, o cleanOptions) error {
	code := exitOK
	for _, path := range files {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		line := cleanLine{Type: "clean", Path: path, DryRun: o.dryRun}
		err := line.clean(path, o)
		if err != nil {
			line.Status, line.Error = "failed", err.Error()
			one := exitImagesFailed
			if _, ok := errors.AsType[*localError](err); ok {
				one = exitLocal
			}
			code = worse(code, one)
		}
		if err := a.printCleaned(line); err != nil {
			return err
		}
	}
	return ended(code, nil)
}

func (a *app) printCleaned(line cleanLine) error {
	switch {
	case a.json:
		return a.print(line)
	case line.Error != "":
		a.note("imagebatch: %s", line.Error)
		return nil
	case line.Status == "unchanged":
		if a.quiet {
			return nil
		}
		return a.line(line.Path + ": nothing to remove")
	}
	what := line.Removed
	if line.Values {
		what = append(what, "measured values")
	}
	if len(what) == 0 {
		what = []string{"marks"}
	}
	verb := "removed"
	if line.DryRun {
		verb = "would remove"
	}
	return a.line(fmt.Sprintf("%s: %s %s", line.Path, verb, strings.ReplaceAll(strings.Join(what, ", "), "alt_text", "alternative text")))
}

// clean cleans a file. A symbolic link stays, and the file that it names is cleaned. The error names the path.
func (line *cleanLine) clean(path string, o cleanOptions) error {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return &localError{err}
	}
	info, err := os.Stat(target)
	switch {
	case err != nil:
		return &localError{err}
	case !info.Mode().IsRegular():
		return &localError{fmt.Errorf("%s: not a regular file", path)}
	case info.Size() > maxCleaned:
		return fmt.Errorf("%s: larger than %d bytes", path, maxCleaned)
	}
	data, err := os.ReadFile(target)
	if err != nil {
		return &localError{err}
	}
	cleaned, err := embed.Clean(data, o.all, o.signed)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	case cleaned.Warning != "":
		return fmt.Errorf("%s: %s", path, cleaned.Warning)
	}
	line.Removed, line.Values, line.Status = cleaned.Removed, cleaned.Values, "cleaned"
	if bytes.Equal(cleaned.Data, data) {
		line.Status = "unchanged"
	}
	if o.dryRun || line.Status == "unchanged" {
		return nil
	}
	if o.backup {
		if err := writeLike(info, target+"_original", data); err != nil {
			return &localError{fmt.Errorf("keep the file as it was: %w", err)}
		}
		line.Backup = path + "_original"
	}
	return local(replace(info, target, cleaned.Data))
}

// errChanged means that another program has written the file since it was read.
var errChanged = errors.New("file changed while it was cleaned; it is left as it is")

// replace replaces the file that info describes. The new one appears when it is complete and on disk.
func replace(info fs.FileInfo, path string, data []byte) error {
	temporary := filepath.Join(filepath.Dir(path), ".imagebatch-"+rand.Text()[:10]+".tmp")
	err := writeLike(info, temporary, data)
	if err != nil {
		return err
	}
	now, err := os.Stat(path)
	if err == nil && (!os.SameFile(now, info) || now.Size() != info.Size() || !now.ModTime().Equal(info.ModTime())) {
		err = fmt.Errorf("%s: %w", path, errChanged)
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return nil
}

// writeLike writes a new file with the mode and the time of another one. After an error, there is no file.
func writeLike(info fs.FileInfo, path string, data []byte) error {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	// Some file systems know only one mode, and refuse to change it.
	if now, statErr := out.Stat(); err == nil && statErr == nil && now.Mode() != info.Mode() {
		err = out.Chmod(info.Mode().Perm())
	}
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = os.Chtimes(path, info.ModTime(), info.ModTime())
	}
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
