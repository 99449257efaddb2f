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

// output is one of the objects of a processed image.
type output struct {
	key         func(processedPath string) string
	contentType string // empty: the type of the original
	absent      *refusal
}

var (
	file      = output{func(p string) string { return p }, "", errResultDeleted}
	thumbnail = output{pipeline.ThumbnailKey, "image/jpeg", errResultDeleted}
	record    = output{pipeline.RecordKey, "application/json", errResultDeleted}
	sidecar   = output{pipeline.SidecarKey, "application/rdf+xml", errNoSidecar} // stored if the processor is configured to
)

// result responds with an output of a completed image. Browsers must treat it as a file
// only.
func (s *Server) result(out output) echo.HandlerFunc {
	return func(c echo.Context) error {
		j, err := s.find(c)
		if err != nil {
			return err
		}
		index := c.Param("index")
		i, err := strconv.Atoi(index)
		if err != nil || i < 0 || i >= len(j.Images) || strconv.Itoa(i) != index {
			return errNoImage.with(bounded(index))
		}
		img := &j.Images[i]
		if img.Status != job.Completed {
			return errNoResult.with(i, img.Status)
		}
		ctx, key := c.Request().Context(), out.key(img.ProcessedPath)
		object := &objectstore.Object{Body: http.NoBody}
		if c.Request().Method == http.MethodHead {
			object.Info, err = s.deps.Processed.Stat(ctx, key)
		} else if object, err = s.deps.Processed.Get(ctx, key); err == nil {
			defer func() { _ = object.Body.Close() }() // all was read, or a read returned the error
		}
		if errors.Is(err, objectstore.ErrNotExist) {
			return out.absent.with(i)
		}
		if err != nil {
			return fmt.Errorf("open result %s: %w", key, err)
		}
		contentType := out.contentType
		if contentType == "" { // the gateway detected it, and the processor does not change it
			if contentType = img.Original.ContentType; contentType != "image/jpeg" && contentType != "image/png" {
				contentType = "application/octet-stream"
			}
		}
		h := c.Response().Header()
		h.Set("Content-Type", contentType)
		h.Set("Content-Length", strconv.FormatInt(object.Size, 10))
		h.Set("Content-Disposition", attachment(path.Base(key)))
		h.Set("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'")
		h.Set("Cache-Control", revalidate)
		c.Response().WriteHeader(http.StatusOK)
		// Without ReadFrom, so that each write has its own deadline.
		w := struct{ io.Writer }{c.Response()}
		if _, err := io.CopyBuffer(w, struct{ io.Reader }{object.Body}, make([]byte, 32<<10)); err != nil {
			return fmt.Errorf("send result %s: %w", key, err)
		}
		return nil
	}
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
