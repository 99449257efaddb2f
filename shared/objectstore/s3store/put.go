package s3store

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // Content-MD5 only detects corruption; it secures nothing.
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"slices"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// Put stores the content under key.
func (s *Store) Put(ctx context.Context, key string, c objectstore.Content) error {
	if err := errors.Join(objectstore.CheckKey(key), objectstore.CheckContentType(c.Type)); err != nil {
		return err
	}
	return s.do(ctx, "put", key, s.putBudget(c.Data), func(ctx context.Context) error {
		return s.putOnce(ctx, key, c, minio.PutObjectOptions{})
	})
}

func (s *Store) putBudget(data []byte) time.Duration {
	return s.limits.call + time.Duration(len(data))*time.Second/slowestBytesPerSecond
}

// PutNew stores the content under key if there is no object, with a conditional request. If the server does not know
// those, it looks for the object before.
func (s *Store) PutNew(ctx context.Context, key string, c objectstore.Content) error {
	if err := errors.Join(objectstore.CheckKey(key), objectstore.CheckContentType(c.Type)); err != nil {
		return err
	}
	err := s.putNew(ctx, key, c)
	if !errors.Is(err, objectstore.ErrChanged) {
		return err
	}
	// versitygw takes the mark of a deleted object in a bucket with versions for an object.
	if _, err := s.Stat(ctx, key); !errors.Is(err, objectstore.ErrNotExist) {
		return fmt.Errorf("put object %q: %w", key, objectstore.ErrExists)
	}
	return s.Put(ctx, key, c)
}

func (s *Store) putNew(ctx context.Context, key string, c objectstore.Content) error {
	return s.do(ctx, "put", key, s.putBudget(c.Data), func(ctx context.Context) error {
		options := minio.PutObjectOptions{}
		options.SetMatchETagExcept("*")
		err := s.putOnce(ctx, key, c, options)
		if !s.isAboutRequest(err) {
			return err
		}
		switch _, err := s.client.StatObject(ctx, s.bucket, s.prefix+key, minio.StatObjectOptions{}); {
		case err == nil:
			return minio.ErrorResponse{Code: minio.PreconditionFailed, StatusCode: http.StatusPreconditionFailed}
		case code(err) != minio.NoSuchKey:
			return err
		}
		return s.putOnce(ctx, key, c, minio.PutObjectOptions{})
	})
}

// putOnce sends the content with a checksum that the server accepts.
func (s *Store) putOnce(ctx context.Context, key string, c objectstore.Content, options minio.PutObjectOptions) error {
	s.sign(&c)
	if s.sendMD5.Load() {
		return s.send(ctx, key, c, options, withMD5)
	}
	err := s.send(ctx, key, c, options, withCRC32C)
	if !s.isAboutRequest(err) {
		return err
	}
	// The error does not show whether the server refuses the header or something else.
	if err = s.send(ctx, key, c, options, withMD5); err == nil {
		s.sendMD5.Store(true)
	}
	return err
}

// sign completes the content with what the signature of a request covers. TLS protects a request in transit; without it, the
// signature covers the data.
func (s *Store) sign(c *objectstore.Content) {
	switch {
	case s.secure:
		c.SHA256 = ""
	case c.SHA256 == "":
		sum := sha256.Sum256(c.Data)
		c.SHA256 = hex.EncodeToString(sum[:])
	}
}

// isAboutRequest reports whether the server refuses the request itself, perhaps because of
// its headers.
func (s *Store) isAboutRequest(err error) bool {
	switch status(err) {
	case http.StatusBadRequest, http.StatusNotImplemented:
		return !s.isTransient(err) && !slices.Contains(argumentErrors, code(err))
	}
	return false
}

// checksum adds a header with a checksum of data: to the options, or as the value of
// Content-MD5.
type checksum func(data []byte, options *minio.PutObjectOptions) (contentMD5 string)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func withCRC32C(data []byte, options *minio.PutObjectOptions) string {
	sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli))
	options.UserMetadata = map[string]string{minio.ChecksumCRC32C.Key(): base64.StdEncoding.EncodeToString(sum)}
	return ""
}

func withMD5(data []byte, _ *minio.PutObjectOptions) string {
	sum := md5.Sum(data) //nolint:gosec // See the import.
	return base64.StdEncoding.EncodeToString(sum[:])
}

// send makes one request.
func (s *Store) send(ctx context.Context, key string, c objectstore.Content, options minio.PutObjectOptions, with checksum) error {
	options.ContentType, options.DisableContentSha256 = c.Type, true
	contentMD5 := with(c.Data, &options)
	done, err := s.client.PutObject(ctx, s.bucket, s.prefix+key, bytes.NewReader(c.Data), int64(len(c.Data)), contentMD5, c.SHA256, options)
	if err == nil && done.ETag == "" {
		err = errors.New("response has no ETag: not an S3 server")
	}
	return err
}
