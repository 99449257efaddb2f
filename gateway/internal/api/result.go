package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// output is one of the objects of an image.
type output struct {
	original    bool                              // in the store of originals
	key         func(processedPath string) string // nil for the original
	contentType string                            // empty: the type of the original
	absent      *refusal
}

var (
	file      = output{false, func(p string) string { return p }, "", errResultDeleted}
	thumbnail = output{false, pipeline.ThumbnailKey, "image/jpeg", errResultDeleted}
	record    = output{false, pipeline.RecordKey, "application/json", errResultDeleted}
	sidecar   = output{false, pipeline.SidecarKey, "application/rdf+xml", errNoSidecar} // stored if the processor is configured to
	original  = output{true, nil, "", errOriginalDeleted}
)

// keyOf returns the key of the image's object, or the refusal if there is none yet.
func (o output) keyOf(img *job.Image) (string, error) {
	switch {
	case o.original && !img.Original.Stored():
		return "", errNoOriginal.with(img.Index)
	case o.original:
		return img.Original.Path, nil
	case img.Status != job.Completed:
		return "", errNoResult.with(img.Index, img.Status)
	}
	return o.key(img.ProcessedPath), nil
}

// keptFor is how long the storage has a result, at least: no rule of S3 deletes an object sooner.
const keptFor = 24 * time.Hour

// doubt returns err, the store's, unless it says that a result does not exist that was stored within keptFor. MinIO on
// several nodes denies objects for seconds after the return of a node.
func (o output) doubt(err error, img *job.Image, now time.Time) error {
	if o.absent == errResultDeleted && errors.Is(err, objectstore.ErrNotExist) && now.Sub(img.EndTime) < keptFor {
		return errResultDenied.with(img.Index)
	}
	return err
}

// typeOf returns the content type of the image's object. The gateway detected that of the
// original, and the processor does not change it.
func (o output) typeOf(img *job.Image) string {
	if o.contentType != "" {
		return o.contentType
	}
	if t := img.Original.ContentType; t == "image/jpeg" || t == "image/png" {
		return t
	}
	return "application/octet-stream"
}

// prepared is the response to a request for results of a job that has been checked.
type prepared struct {
	check func(context.Context) error // returns the error if the object of the response is not there; nil if it has no such object
	send  echo.HandlerFunc
}

// result responds with an object of an image, or with a part of it.
func (s *Server) result(out output) echo.HandlerFunc {
	return func(c echo.Context) error {
		j, err := s.find(c)
		if err != nil {
			return err
		}
		p, err := s.resultOf(out, j, c.Param("index"))
		if err != nil {
			return err
		}
		return p.send(c)
	}
}

// resultOf returns an object of the image of a job with this index.
func (s *Server) resultOf(out output, j *job.Job, index string) (prepared, error) {
	store := s.deps.Processed
	if out.original {
		store = s.deps.Originals
	}
	img, err := imageOf(j, index)
	if err != nil {
		return prepared{}, err
	}
	key, err := out.keyOf(img)
	if err != nil {
		return prepared{}, err
	}
	absent := func(err error) error {
		err = out.doubt(err, img, s.deps.Now())
		if errors.Is(err, objectstore.ErrNotExist) {
			return out.absent.with(img.Index)
		}
		return fmt.Errorf("open result %s: %w", key, err)
	}
	return prepared{
		check: func(ctx context.Context) error {
			if _, err := store.Stat(ctx, key); err != nil {
				return absent(err)
			}
			return nil
		},
		send: func(c echo.Context) error {
			a, err := openAnswer(c.Request(), store, key)
			if err != nil {
				return absent(err)
			}
			defer func() { _ = a.body.Close() }() // all was read, or a read returned the error
			return send(c, a, out.typeOf(img))
		},
	}, nil
}

// imageOf returns the image of a job with this index.
func imageOf(j *job.Job, index string) (*job.Image, error) {
	i, err := strconv.Atoi(index)
	if err != nil || i < 0 || i >= len(j.Images) || strconv.Itoa(i) != index {
		return nil, errNoImage.with(bounded(index))
	}
	return &j.Images[i], nil
}

// answer is what the response to a request for an object contains.
type answer struct {
	info   objectstore.Info
	status int           // 200, 206 or 304
	part   span          // of a 206
	body   io.ReadCloser // empty for HEAD and for a 304
}

// changes is how often a request is evaluated again because the object was replaced
// after its ETag was read.
const changes = 3

// openAnswer opens the object, or the part of it, that the request is for. Its errors are
// refusals, and those of the store.
func openAnswer(r *http.Request, store results, key string) (a *answer, err error) {
	if r.Method == http.MethodGet && !isConditional(r.Header) {
		object, err := store.Get(r.Context(), key)
		if err != nil {
			return nil, err
		}
		return &answer{info: object.Info, status: http.StatusOK, body: object.Body}, nil
	}
	for range changes {
		a, err = openIf(r.Context(), r, store, key)
		if !errors.Is(err, objectstore.ErrChanged) {
			return a, err
		}
	}
	return nil, err
}

// openIf is openAnswer for HEAD and for conditional requests.
func openIf(ctx context.Context, r *http.Request, store results, key string) (*answer, error) {
	info, err := store.Stat(ctx, key)
	if err != nil {
		return nil, err
	}
	a := &answer{info: info, body: http.NoBody}
	a.status, a.part = decide(r.Method, r.Header, info)
	var object *objectstore.Object
	switch {
	case a.status == http.StatusPreconditionFailed:
		return nil, errPrecondition
	case a.status == http.StatusRequestedRangeNotSatisfiable:
		return nil, errRange.with(info.Size).field("Content-Range", fmt.Sprintf("bytes */%d", info.Size))
	case a.status == http.StatusNotModified, r.Method == http.MethodHead:
		return a, nil
	case a.status == http.StatusPartialContent:
		object, err = store.GetPart(ctx, key, info.ETag, a.part.start, a.part.length)
	default:
		if object, err = store.Get(ctx, key); err == nil {
			a.info = object.Info
		}
	}
	if err != nil {
		return nil, err
	}
	a.body = object.Body
	return a, nil
}

// send writes the response. Browsers must treat the object as a file only.
func send(c echo.Context, a *answer, contentType string) error {
	h, length := c.Response().Header(), a.info.Size
	h.Set("Cache-Control", revalidate)
	if a.info.ETag != "" {
		h.Set("ETag", quoted(a.info.ETag))
		h.Set("Accept-Ranges", "bytes")
	}
	switch a.status {
	case http.StatusNotModified:
		c.Response().WriteHeader(a.status)
		return nil
	case http.StatusPartialContent:
		length = a.part.length
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", a.part.start, a.part.start+length-1, a.info.Size))
	}
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	asFile(h, path.Base(a.info.Key))
	c.Response().WriteHeader(a.status)
	// Without ReadFrom, so that each write has its own deadline.
	w := struct{ io.Writer }{c.Response()}
	if _, err := io.CopyBuffer(w, struct{ io.Reader }{a.body}, make([]byte, 32<<10)); err != nil {
		return fmt.Errorf("send result %s: %w", a.info.Key, err)
	}
	return nil
}

// asFile sets the headers of a response that a browser saves under the name and never
// executes.
func asFile(h http.Header, name string) {
	h.Set("Content-Disposition", attachment(name))
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'")
}

// attachment returns a Content-Disposition with the file name according to RFC 6266: in
// ASCII for old clients, and in full according to RFC 8187.
func attachment(name string) string {
	plain := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' || r == '%' {
			return '_'
		}
		return r
	}, name)
	// PathEscape keeps $&+=:@, but RFC 8187 does not allow =:@.
	full := strings.NewReplacer("=", "%3D", ":", "%3A", "@", "%40").Replace(url.PathEscape(name))
	return fmt.Sprintf(`attachment; filename="%s"; filename*=UTF-8''%s`, plain, full)
}
