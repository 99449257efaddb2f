package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// kept is one of the objects that a processed image left.
type kept struct {
	key         string
	contentType string
	absent      string // what is said of it when it is not there
}

const swept = "that of images[%d] is no longer kept"

func fileOf(img *job.Image) kept {
	// The type was found in the bytes, and the processor does not change it.
	t := img.Original.ContentType
	if t != "image/jpeg" && t != "image/png" {
		t = "application/octet-stream"
	}
	return kept{img.ProcessedPath, t, swept}
}

func thumbnailOf(img *job.Image) kept {
	return kept{pipeline.ThumbnailKey(img.ProcessedPath), "image/jpeg", swept}
}

func metadataOf(img *job.Image) kept {
	return kept{pipeline.RecordKey(img.ProcessedPath), "application/json", swept}
}

// sidecarOf is the XMP sidecar, which the processor stores where it is asked to.
func sidecarOf(img *job.Image) kept {
	return kept{pipeline.SidecarKey(img.ProcessedPath), "application/rdf+xml", "images[%d] has no sidecar"}
}

// result answers with an object of a completed image, which no browser is to
// take for anything but a file.
func (s *Server) result(of func(*job.Image) kept) echo.HandlerFunc {
	return func(c echo.Context) error {
		j, err := s.find(c)
		if err != nil {
			return err
		}
		img, err := imageOf(j, c.Param("index"))
		if err != nil {
			return err
		}
		return s.send(c, img, of(img))
	}
}

// imageOf finds the image of a path that is completed.
func imageOf(j *job.Job, index string) (*job.Image, error) {
	i, err := strconv.Atoi(index)
	if err != nil || i < 0 || i >= len(j.Images) || strconv.Itoa(i) != index {
		return nil, refuse(http.StatusNotFound, "Image not found: images["+bounded(index)+"]")
	}
	img := &j.Images[i]
	if img.Status != job.Completed {
		return nil, refuse(http.StatusNotFound, fmt.Sprintf("No result: images[%d] is %s", i, img.Status))
	}
	return img, nil
}

func (s *Server) send(c echo.Context, img *job.Image, k kept) error {
	ctx, r := c.Request().Context(), c.Request()
	var (
		info objectstore.Info
		body io.ReadCloser
		err  error
	)
	if r.Method == http.MethodHead {
		info, err = s.deps.Processed.Stat(ctx, k.key)
	} else {
		var o *objectstore.Object
		if o, err = s.deps.Processed.Get(ctx, k.key); err == nil {
			info, body = o.Info, o.Body
			defer func() { _ = body.Close() }() // all of it was read, or it has told its error
		}
	}
	if errors.Is(err, objectstore.ErrNotExist) {
		return refuse(http.StatusNotFound, fmt.Sprintf("No result: "+k.absent, img.Index))
	}
	if err != nil {
		return fmt.Errorf("open result %s: %w", k.key, err)
	}
	h := c.Response().Header()
	h.Set("Content-Type", k.contentType)
	h.Set("Content-Length", strconv.FormatInt(info.Size, 10))
	h.Set("Content-Disposition", attachment(path.Base(k.key)))
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "private, no-cache")
	c.Response().WriteHeader(http.StatusOK)
	if body == nil {
		return nil
	}
	if _, err := io.CopyBuffer(writerOnly{c.Response()}, body, make([]byte, 32<<10)); err != nil {
		return fmt.Errorf("send result %s: %w", k.key, err)
	}
	return nil
}

// writerOnly hides everything but Write, so that each write gets its deadline.
type writerOnly struct{ io.Writer }

// attachment names a file by RFC 6266: in ASCII for old clients, and whole by RFC
// 8187.
func attachment(name string) string {
	plain := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' || r == '%' {
			return '_'
		}
		return r
	}, name)
	// PathEscape leaves $&+=:@ as they are, of which RFC 8187 doesn't have =:@.
	whole := strings.NewReplacer("=", "%3D", ":", "%3A", "@", "%40").Replace(url.PathEscape(name))
	return fmt.Sprintf(`attachment; filename="%s"; filename*=UTF-8''%s`, plain, whole)
}
