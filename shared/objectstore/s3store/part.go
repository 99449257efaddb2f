package s3store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// part is a part of an object with a known ETag; nil is the whole object.
type part struct {
	etag           string
	offset, length int64
}

// GetPart opens a part of the object. Its Body has the limits of Get.
func (s *Store) GetPart(ctx context.Context, key, etag string, offset, length int64) (*objectstore.Object, error) {
	if err := errors.Join(objectstore.CheckKey(key), objectstore.CheckPart(etag, offset, length)); err != nil {
		return nil, err
	}
	var object *objectstore.Object
	err := s.do(ctx, "get", key, s.limits.call, func(try context.Context) error {
		o, err := s.get(ctx, try, key, &part{etag, offset, length})
		object = o
		return err
	})
	if err != nil {
		return nil, err
	}
	return object, nil
}

// span returns the first and the last byte of the part.
func (p *part) span() string { return fmt.Sprintf("%d-%d", p.offset, p.offset+p.length-1) }

func (p *part) options() (o minio.GetObjectOptions) {
	if p != nil {
		o.Set("If-Match", `"`+p.etag+`"`)
		o.Set("Range", "bytes="+p.span())
	}
	return o
}

// check returns an error if the response is not the requested part. A server may ignore
// both headers of the request.
func (p *part) check(info minio.ObjectInfo, header http.Header) error {
	if p == nil {
		return nil
	}
	failed := minio.ErrorResponse{StatusCode: http.StatusPreconditionFailed, Code: minio.PreconditionFailed, Message: "the ETag is now " + info.ETag}
	got := header.Get("Content-Range")
	switch {
	case info.ETag != p.etag:
	case got == "":
		return errors.New("response to a request for a part has no Content-Range")
	case !strings.HasPrefix(got, "bytes "+p.span()+"/") || info.Size != p.length:
		failed = minio.ErrorResponse{StatusCode: http.StatusRequestedRangeNotSatisfiable, Code: minio.InvalidRange, Message: "the server has only " + got}
	default:
		return nil
	}
	return failed
}

// validETag returns the ETag, or "" if it has characters that an entity tag cannot have.
func validETag(etag string) string {
	if strings.ContainsFunc(etag, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' }) {
		return ""
	}
	return etag
}
