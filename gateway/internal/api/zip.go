package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/archive"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// inArchive lists the outputs that results.zip can contain, in their order.
var inArchive = []struct {
	name string
	output
	always bool // without include
}{{"file", file, true}, {"metadata", record, true}, {"xmp", sidecar, false}, {"thumbnail", thumbnail, false}}

const (
	manifestName = "manifest.jsonl"
	entryRoom    = 64 << 10 // bytes by which a processed file is usually larger than its original, at most
	maxBuffer    = 16 << 20 // bytes of an entry that is read into memory
)

// newArchiveMemory limits the buffers of all downloads of results.zip. A download takes the
// memory for its largest file before its first byte, so that it is rejected early or not
// at all.
func newArchiveMemory(memory, maxImageBytes int64) *uploadMemory {
	m := newUploadMemory(memory, min(maxImageBytes+entryRoom, maxBuffer)+window)
	m.tooMany, m.nothing = errArchiveShare, errNoArchiveMemory
	return m
}

// archive responds with the results of a job in one ZIP file.
func (s *Server) archive(c echo.Context) error {
	j, err := s.find(c)
	if err != nil {
		return err
	}
	query, err := parameters(c)
	if err != nil {
		return err
	}
	p, err := s.archiveOf(j, query)
	if err != nil {
		return err
	}
	return p.send(c)
}

// archiveOf returns the results of a job in one ZIP file, in the order of the images.
func (s *Server) archiveOf(j *job.Job, query url.Values) (prepared, error) {
	include, paths, err := includeOf(query)
	if err != nil {
		return prepared{}, err
	}
	if !j.Status.Ended() {
		return prepared{}, errNotEnded.with(j.Status)
	}
	return prepared{send: func(c echo.Context) error { return s.sendArchive(c, j, include, paths) }}, nil
}

// sendArchive sends the ZIP file. An error after the first byte breaks the connection, so that the
// file is visibly incomplete.
func (s *Server) sendArchive(c echo.Context, j *job.Job, include map[string]bool, paths bool) error {
	startFile(c, "application/zip", j.ID+".zip")
	if c.Request().Method == http.MethodHead {
		c.Response().WriteHeader(http.StatusOK)
		return nil
	}
	memory, err := s.zips.hold(detailsOf(c).by, bufferFor(j, include))
	if err != nil {
		return err
	}
	defer memory.release()
	w := &pacedWriter{to: c.Response(), pace: pace{s.config.pace.slowest, writeTime}, credit: writeTime}
	z := &zipping{store: s.deps.Processed, memory: memory, out: archive.NewWriter(w), names: archive.NewNames(manifestName), paths: paths, now: s.deps.Now()}
	var manifest bytes.Buffer
	for i := range j.Images {
		line, err := z.image(c.Request().Context(), &j.Images[i], include)
		if err != nil {
			return err
		}
		data, err := encode(line)
		if err != nil {
			return err
		}
		manifest.Write(data)
	}
	e := archive.Entry{Name: manifestName, Modified: j.CompletedAt, Size: int64(manifest.Len()), Sum: crc32.ChecksumIEEE(manifest.Bytes())}
	if err := z.out.Add(e, &manifest); err != nil {
		return err
	}
	return z.out.Close()
}

// includeOf returns for each output whether the query wants it, and whether custom_ids are
// the paths of the files.
func includeOf(query url.Values) (include map[string]bool, paths bool, err error) {
	switch query.Get("paths") {
	case "":
	case "custom_id":
		paths = true
	default:
		return nil, false, errPaths
	}
	include = map[string]bool{}
	wanted := strings.Join(query["include"], ",")
	for _, o := range inArchive {
		include[o.name] = wanted == "" && o.always
	}
	if wanted == "" {
		return include, paths, nil
	}
	for name := range strings.SplitSeq(wanted, ",") {
		if _, known := include[name]; !known {
			return nil, false, errInclude
		}
		include[name] = true
	}
	return include, paths, nil
}

// bufferFor returns the memory that a download needs in all likelihood.
func bufferFor(j *job.Job, include map[string]bool) int64 {
	var largest int64
	for i := range j.Images {
		if img := &j.Images[i]; include["file"] && img.Status == job.Completed {
			largest = max(largest, img.Original.Size+entryRoom)
		}
	}
	return min(largest, maxBuffer) + window
}

// zipping is one download of results.zip.
type zipping struct {
	store  results
	memory *held
	buffer []byte // for the content of one entry
	out    *archive.Writer
	names  *archive.Names
	paths  bool // custom_ids are the paths of the files
	now    time.Time
}

// image adds the outputs of an image, and returns its line in the manifest.
func (z *zipping) image(ctx context.Context, img *job.Image, include map[string]bool) (lineJSON, error) {
	line := lineShape(img)
	if img.Status != job.Completed {
		return line, nil
	}
	// The names do not depend on what is included.
	name, suffixes := "", []string{record.key(""), sidecar.key(""), thumbnail.key("")}
	named := false
	if z.paths {
		name, named = z.names.TakePath(img.CustomID, suffixes...)
	}
	if !named {
		name = z.names.Take(intake.KeyName(path.Base(img.ProcessedPath), ""), suffixes...)
	}
	line.Files, line.Missing = map[string]string{}, map[string]string{}
	for _, o := range inArchive {
		if !include[o.name] {
			continue
		}
		err := o.doubt(z.add(ctx, o.key(name), o.key(img.ProcessedPath), img.EndTime), img, z.now)
		switch {
		case errors.Is(err, objectstore.ErrNotExist):
			line.Missing[o.name] = o.absent.with(img.Index).text
		case err != nil:
			return line, fmt.Errorf("add result %s: %w", o.key(img.ProcessedPath), err)
		default:
			line.Files[o.name] = o.key(name)
		}
	}
	return line, nil
}

// add adds an object as an entry. If the object does not exist, it adds nothing.
func (z *zipping) add(ctx context.Context, name, key string, modified time.Time) error {
	e, content, err := z.load(ctx, key)
	if err != nil {
		return err
	}
	defer content.Close()
	e.Name, e.Modified = name, modified
	return z.out.Add(e, content)
}

// load reads an object, so that its size and its checksum are known before it is sent.
// An object that does not fit into the memory is read twice.
func (z *zipping) load(ctx context.Context, key string) (e archive.Entry, content io.ReadCloser, err error) {
	object, err := z.store.Get(ctx, key)
	if err != nil {
		return e, nil, err
	}
	defer object.Body.Close()
	e.Size = object.Size
	if z.reserve(object.Size) {
		data := z.buffer[:object.Size]
		if _, err := io.ReadFull(object.Body, data); err != nil {
			return e, nil, err
		}
		e.Sum = crc32.ChecksumIEEE(data)
		return e, io.NopCloser(bytes.NewReader(data)), nil
	}
	sum := crc32.NewIEEE()
	if _, err := io.Copy(sum, object.Body); err != nil {
		return e, nil, err
	}
	e.Sum = sum.Sum32()
	again, err := z.store.Get(ctx, key)
	if err != nil {
		return e, nil, err
	}
	return e, again.Body, nil
}

// reserve makes the buffer large enough for size bytes, if there is memory for it.
func (z *zipping) reserve(size int64) bool {
	if size > maxBuffer {
		return false
	}
	if more := size + window - z.memory.n; more > 0 && z.memory.grow(more) != nil {
		return false
	}
	if int64(len(z.buffer)) < size {
		z.buffer = nil // not both at once
		z.buffer = make([]byte, z.memory.n-window)
	}
	return true
}

// errSlowClient ends a response.
var errSlowClient = errors.New("client takes the response too slowly")

// pacedWriter ends a response that holds memory and is taken too slowly. As for a
// requestBody, only the time spent waiting for the client counts, and a client that is
// ahead of the pace gains at most the grace time.
type pacedWriter struct {
	to     io.Writer
	pace   pace
	credit time.Duration
}

func (w *pacedWriter) Write(p []byte) (int, error) {
	start := time.Now()
	n, err := w.to.Write(p)
	w.credit = min(w.credit-time.Since(start)+time.Duration(int64(n)*int64(time.Second)/w.pace.slowest), w.pace.grace)
	if err == nil && w.credit < 0 {
		err = errSlowClient
	}
	return n, err
}
