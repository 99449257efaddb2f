package main

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/client"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/unfinished"
)

// archive is a ZIP file with the results of several jobs. The results of each job are downloaded
// to a temporary file, because a broken download cannot be continued, and are then copied
// without decompressing them. The file appears under its name when it is complete.
type archive struct {
	path    string
	include []client.Kind

	mu   sync.Mutex // guards jobs
	jobs []string

	run       *unfinished.Run // while it is written
	temporary []string        // files to delete
}

const manifestName = "manifest.jsonl"

func (a *archive) add(jobID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.jobs = append(a.jobs, jobID)
}

// clean deletes the temporary files.
func (a *archive) clean() error {
	var errs []error
	for _, name := range a.temporary {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, &localError{err})
		}
	}
	a.temporary = nil
	return errors.Join(errs...)
}

// create creates a temporary file next to the archive.
func (a *archive) create() (*os.File, error) {
	name := filepath.Join(filepath.Dir(a.path), a.run.Name())
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o666) //nolint:gosec // the umask decides
	if err != nil {
		return nil, &localError{err}
	}
	a.temporary = append(a.temporary, f.Name())
	return f, nil
}

// write downloads the results of all jobs and writes the archive.
func (a *archive) write(ctx context.Context, c *client.Client) (err error) {
	folder, err := os.OpenRoot(filepath.Dir(a.path))
	if err != nil {
		return &localError{err}
	}
	a.run = unfinished.Start(folder, false)
	defer func() { err = errors.Join(err, a.clean(), local(a.run.Close()), local(folder.Close())) }()
	out, err := a.create()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = out.Close() // it is deleted
		}
	}()
	w := merger{zip: zip.NewWriter(out), taken: map[string]bool{manifestName: true}}
	for _, id := range a.jobs {
		if err := a.addJob(ctx, c, &w, id); err != nil {
			return fmt.Errorf("results of job %s: %w", id, err)
		}
	}
	if err := w.finish(); err != nil {
		return &localError{err}
	}
	if err := errors.Join(out.Sync(), out.Close(), os.Rename(out.Name(), a.path)); err != nil {
		return &localError{err}
	}
	return nil
}

// addJob downloads the results of a job, if necessary several times, and copies them.
func (a *archive) addJob(ctx context.Context, c *client.Client, w *merger, id string) error {
	part, err := a.create()
	if err != nil {
		return err
	}
	defer part.Close()
	options := client.ZipOptions{Include: a.include, CustomIDPaths: true}
	size := int64(0)
	for attempt := 1; ; attempt++ {
		size, err = c.Zip(ctx, id, localWriter{part}, options)
		_, isLocal := errors.AsType[*localError](err)
		_, refused := errors.AsType[*client.Error](err)
		if err == nil {
			break
		}
		if isLocal || refused || ctx.Err() != nil || attempt == fewRetries+1 {
			return err
		}
		if _, err := part.Seek(0, io.SeekStart); err != nil {
			return &localError{err}
		}
		if err := part.Truncate(0); err != nil {
			return &localError{err}
		}
	}
	r, err := zip.NewReader(part, size)
	if err != nil {
		return err
	}
	if err := w.add(r, id); err != nil {
		return &localError{err}
	}
	return os.Remove(part.Name())
}

// merger joins the archives of jobs into one.
type merger struct {
	zip      *zip.Writer
	taken    map[string]bool // names in lower case
	manifest bytes.Buffer
}

// add copies the entries of an archive. An entry with the name of an earlier one gets a number.
func (m *merger) add(r *zip.Reader, jobID string) error {
	renamed := map[string]string{}
	for _, entry := range r.File {
		if entry.Name == manifestName {
			if err := m.addManifest(entry, jobID, renamed); err != nil { // it is the last entry
				return err
			}
			continue
		}
		name := m.take(entry.Name)
		renamed[entry.Name] = name
		header := entry.FileHeader
		header.Name = name
		w, err := m.zip.CreateRaw(&header)
		if err != nil {
			return err
		}
		content, err := entry.OpenRaw()
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, content); err != nil {
			return err
		}
	}
	return nil
}

func (m *merger) take(want string) string {
	ext := path.Ext(want)
	name := want
	for n := 2; m.taken[strings.ToLower(name)]; n++ {
		name = fmt.Sprintf("%s (%d)%s", strings.TrimSuffix(want, ext), n, ext)
	}
	m.taken[strings.ToLower(name)] = true
	return name
}

// addManifest appends the manifest of a job. Each line gets the job and the new names.
func (m *merger) addManifest(entry *zip.File, jobID string, renamed map[string]string) error {
	in, err := entry.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			JobID            string            `json:"job_id"`
			Index            int               `json:"index"`
			CustomID         string            `json:"custom_id,omitempty"`
			OriginalFilename string            `json:"original_filename"`
			Status           string            `json:"status"`
			Error            string            `json:"error,omitempty"`
			ErrorCode        string            `json:"error_code,omitempty"`
			Files            map[string]string `json:"files,omitempty"`
			Missing          map[string]string `json:"missing,omitempty"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("manifest: %w", err)
		}
		line.JobID = jobID
		for kind, name := range line.Files {
			line.Files[kind] = renamed[name]
		}
		text, err := json.Marshal(line)
		if err != nil {
			return err
		}
		m.manifest.Write(append(text, '\n'))
	}
	return lines.Err()
}

// finish writes the manifest, and the end of the archive.
func (m *merger) finish() error {
	w, err := m.zip.CreateHeader(&zip.FileHeader{Name: manifestName, Method: zip.Deflate, Modified: time.Now()})
	if err != nil {
		return err
	}
	if _, err := w.Write(m.manifest.Bytes()); err != nil {
		return err
	}
	return m.zip.Close()
}
