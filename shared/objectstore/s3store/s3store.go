// Package s3store keeps objects in a bucket of an S3 server. It is the only
// package that knows minio-go.
//
// It promises objectstore's contract on any server that has PUT, GET, HEAD,
// DELETE and LIST (version 2): it asks for nothing else, and creates the bucket
// only when it is told to. The key it signs with needs s3:ListBucket, without
// which a server answers 403 for what does not exist, and of s3:GetObject,
// s3:PutObject and s3:DeleteObject those whose calls are made. A right that turns
// out to be missing is ErrUnavailable, and told by Ready, under its name.
//
// Without keys in the Config it signs with those of a role (see [Role]), which
// minio-go's credential provider retrieves. Calls that start during a renewal wait
// for it, for a few seconds at most, although the old keys are still good.
//
// It believes no ETag: encryption by the server makes it anything but a sum of the
// object.
//
// An absent server is no error of [Open]. Every call looks for the bucket first
// until it was seen once, so a server may come up, or be restarted, at any time.
// An outage is ErrUnavailable within about ten seconds: a call makes up to three
// tries, and begins none later than two seconds after the first. A refused
// access key and a missing bucket are ErrUnavailable too, since an operator can
// mend them; Ready says which it is. ErrNotExist is given only after the bucket
// was seen to be there, so that an answer of 404 from something that is no S3
// server loses no image.
//
// It refuses to use a proxy, to follow redirects, and to send an object in
// parts.
package s3store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// Config names the bucket and how to reach it.
type Config struct {
	Endpoint string // http://host:port or https://host, without a path

	AccessKey, SecretKey string // both, or neither: then Role's
	Role                 Role

	Region string // empty: as the endpoint's name tells, else us-east-1
	Bucket string
	Prefix string // before every key, as it stands: "originals/"

	// PathStyle puts the bucket into the path, http://host/bucket/key. Without it the
	// host name carries it, http://bucket.host/key, unless it can't: the endpoint is
	// an address, or the bucket's name has dots, which no certificate covers.
	PathStyle    bool
	CreateBucket bool // create the bucket when it is absent

	Roots *x509.CertPool // authorities that are believed over https; nil: the system's
}

// Store is one bucket under one prefix.
type Store struct {
	client *minio.Core
	http   *http.Transport
	role   *role // nil where the keys are given
	limits limits

	endpoint, region, bucket, prefix string
	secure, create                   bool

	bucketSeen atomic.Bool // the bucket was there at the last look
	denials    denials
}

var _ objectstore.Store = (*Store)(nil)

// Open checks the configuration; it sends nothing.
func Open(c Config) (*Store, error) { return open(c, standard) }

func open(c Config, l limits) (*Store, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, errors.New("the S3 endpoint is not a URL") // the text of err would repeat a password in it
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, fmt.Errorf("the S3 endpoint %q is not an http or https URL", u.Redacted())
	case u.User != nil, u.RawQuery != "", u.Fragment != "", u.Path != "" && u.Path != "/":
		return nil, fmt.Errorf("the S3 endpoint %q has more than scheme, host and port", u.Redacted())
	case (c.AccessKey == "") != (c.SecretKey == ""):
		return nil, errors.New("the S3 access key and secret key belong together: give both or neither")
	}
	if err := s3utils.CheckValidBucketNameStrict(c.Bucket); err != nil {
		return nil, fmt.Errorf("check bucket %q: %w", c.Bucket, err)
	}
	if err := objectstore.CheckPrefix(c.Prefix); err != nil {
		return nil, fmt.Errorf("check prefix of bucket %q: %w", c.Bucket, err)
	}

	region := cmp.Or(c.Region, s3utils.GetRegionFromURL(*u), "us-east-1")
	lookup := minio.BucketLookupDNS
	if _, err := netip.ParseAddr(u.Hostname()); c.PathStyle || err == nil || u.Scheme == "https" && strings.Contains(c.Bucket, ".") {
		lookup = minio.BucketLookupPath
	}
	transport := newTransport(l, c.Roots)
	creds, keyless := credentials.NewStaticV4(c.AccessKey, c.SecretKey, ""), (*role)(nil)
	if c.AccessKey == "" {
		keyless = &role{kind: cmp.Or(c.Role.Kind, "the role"), source: credentials.IAM{Endpoint: c.Role.Endpoint}, bound: l.call / 2}
		creds = credentials.New(keyless)
	}
	client, err := minio.NewCore(u.Host, &minio.Options{
		Creds: creds, Secure: u.Scheme == "https", Region: region, BucketLookup: lookup,
		Transport:  transport,
		MaxRetries: 1, // the tries are ours
	})
	if err != nil {
		return nil, fmt.Errorf("set up S3 client for %q: %w", u.Redacted(), err)
	}
	return &Store{
		client: client, http: transport, role: keyless, limits: l,
		endpoint: u.Scheme + "://" + u.Host, region: region, bucket: c.Bucket, prefix: c.Prefix,
		secure: u.Scheme == "https", create: c.CreateBucket,
	}, nil
}

// Close gives up the idle connections. Calls that still run end as they would
// have.
func (s *Store) Close() { s.http.CloseIdleConnections() }

// Put stores data under key.
func (s *Store) Put(ctx context.Context, key string, data []byte, contentType string) error {
	if err := errors.Join(objectstore.CheckKey(key), objectstore.CheckContentType(contentType)); err != nil {
		return err
	}
	// TLS guards the bytes on their way. Without it the server compares their sum.
	sum := ""
	if !s.secure {
		sha := sha256.Sum256(data)
		sum = hex.EncodeToString(sha[:])
	}
	options := minio.PutObjectOptions{ContentType: contentType, DisableContentSha256: true}
	budget := s.limits.call + time.Duration(len(data))*time.Second/slowestBytesPerSecond
	return s.do(ctx, "put", key, budget, func(ctx context.Context) error {
		done, err := s.client.PutObject(ctx, s.bucket, s.prefix+key, bytes.NewReader(data), int64(len(data)), "", sum, options)
		if err == nil && done.ETag == "" {
			err = errors.New("the answer has no ETag: this is no S3 server")
		}
		return err
	})
}

// Get opens the object. A Body from which nothing comes for some seconds, or
// that is not read to its end within five minutes, fails with ErrUnavailable.
func (s *Store) Get(ctx context.Context, key string) (*objectstore.Object, error) {
	if err := objectstore.CheckKey(key); err != nil {
		return nil, err
	}
	var object *objectstore.Object
	err := s.do(ctx, "get", key, s.limits.call, func(try context.Context) error {
		o, err := s.get(ctx, try, key)
		object = o
		return err
	})
	if err != nil {
		return nil, err
	}
	return object, nil
}

// get opens the object for as long as the caller's ctx lives; the end of the
// try ends only the wait for the answer.
func (s *Store) get(ctx, try context.Context, key string) (*objectstore.Object, error) {
	life, cancel := context.WithTimeout(ctx, s.limits.whole)
	detach := context.AfterFunc(try, cancel)
	rc, info, _, err := s.client.GetObject(life, s.bucket, s.prefix+key, minio.GetObjectOptions{})
	if err != nil {
		cancel()
		return nil, err
	}
	if !detach() || info.Size < 0 {
		cancel()
		_ = rc.Close()
		return nil, fmt.Errorf("the answer came too late or has no length (%d)", info.Size)
	}
	o := &objectstore.Object{Info: s.info(key, info)}
	o.Body = newBody(ctx, rc, o.Info, s.limits.stall, cancel)
	return o, nil
}

// Stat describes the object.
func (s *Store) Stat(ctx context.Context, key string) (objectstore.Info, error) {
	if err := objectstore.CheckKey(key); err != nil {
		return objectstore.Info{}, err
	}
	var info objectstore.Info
	err := s.do(ctx, "stat", key, s.limits.call, func(ctx context.Context) error {
		o, err := s.client.StatObject(ctx, s.bucket, s.prefix+key, minio.StatObjectOptions{})
		if err == nil && o.Size < 0 {
			err = errors.New("the answer has no length")
		}
		info = s.info(key, o)
		return err
	})
	if err != nil {
		return objectstore.Info{}, err
	}
	return info, nil
}

// Delete removes the object.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := objectstore.CheckKey(key); err != nil {
		return err
	}
	err := s.do(ctx, "delete", key, s.limits.call, func(ctx context.Context) error {
		return s.client.RemoveObject(ctx, s.bucket, s.prefix+key, minio.RemoveObjectOptions{})
	})
	if errors.Is(err, objectstore.ErrNotExist) {
		return nil
	}
	return err
}

func (s *Store) info(key string, o minio.ObjectInfo) objectstore.Info {
	return objectstore.Info{Key: key, Size: o.Size, ContentType: o.ContentType, Modified: o.LastModified.UTC()}
}
