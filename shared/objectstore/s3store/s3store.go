// Package s3store stores objects in a bucket of an S3 server. It is the only package
// that imports minio-go.
//
// It keeps the contract of objectstore on any server that supports PUT, GET, HEAD,
// DELETE and LIST (version 2). It uses no other requests, and creates the bucket only
// if CreateBucket is set. The access key needs s3:ListBucket, without which a server
// responds with 403 for missing objects, and those of s3:GetObject, s3:PutObject and
// s3:DeleteObject that its calls and its [Probe] need. When a permission is missing, the
// error is ErrRefused and Ready names the permission.
//
// Without keys in the Config it signs with the keys of a role (see [Role]), which
// minio-go's credential provider retrieves. Calls that start during a renewal wait for
// it, for a few seconds at most, even if the old keys are still valid.
//
// It uses ETags only as validators, because with server-side encryption they are not
// checksums of the object.
//
// [Open] succeeds without a server. Every call first checks for the bucket until it was
// found once, so a server may start or restart at any time. In an outage, calls return
// ErrUnavailable within about ten seconds: a call makes up to three tries, and the last
// one starts at most two seconds after the first. A missing bucket is ErrUnavailable too,
// and a request that the server refuses is ErrRefused, which includes ErrUnavailable,
// because an operator can fix them; Ready states the server's reason. ErrNotExist is
// returned only if the bucket exists, so that a 404 from a server that is not an S3 server
// loses no image.
//
// # Checksums
//
// Every Put carries a checksum, because a bucket with Object Lock demands one: the header
// x-amz-checksum-crc32c, which costs at most a sixth of Content-MD5 (BenchmarkChecksums). A
// server that refuses the header is asked again with Content-MD5, which every server knows,
// and then always gets that: Backblaze B2 and Cloudflare R2 have refused the header. Google's
// server gets Content-MD5 from the start, because minio-go sends it no CRC either. The
// checksum is never in a trailer, which older servers refuse or store as a part of the object.
//
// It does not use proxies, redirects or multipart uploads.
package s3store

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// Config specifies the bucket and how to reach it.
type Config struct {
	Endpoint string // http://host:port or https://host, without a path

	AccessKey, SecretKey string // both, or neither to use Role
	Role                 Role

	Region string // empty: derived from the endpoint's name, or us-east-1
	Bucket string
	Prefix string // prepended to every key without a separator: "originals/"

	// PathStyle puts the bucket into the path: http://host/bucket/key. Otherwise it is
	// in the host name, http://bucket.host/key, unless the endpoint is an IP address or
	// the bucket's name has dots, which no certificate covers.
	PathStyle    bool
	CreateBucket bool // create the bucket if it does not exist

	Probe Probe

	Roots *x509.CertPool // certificate authorities for https; nil: the system's
}

// Store is one bucket under one prefix.
type Store struct {
	client *minio.Core
	http   *http.Transport
	role   *role // nil if the Config has keys
	limits limits

	endpoint, region, bucket, prefix string
	secure, create                   bool

	bucketSeen atomic.Bool // the bucket existed at the last check
	sendMD5    atomic.Bool // the server refuses our checksum header, and takes Content-MD5
	refusals   refusals
	prober     *prober
}

var _ objectstore.Store = (*Store)(nil)

// Open checks the configuration. It sends no request.
func Open(c Config) (*Store, error) { return open(c, standard) }

func open(c Config, l limits) (*Store, error) {
	u, err := parseEndpoint(c.Endpoint)
	if err != nil {
		return nil, err
	}
	if (c.AccessKey == "") != (c.SecretKey == "") {
		return nil, errors.New("S3 access key and secret key belong together: set both or neither")
	}
	if err := CheckBucket(c.Bucket); err != nil {
		return nil, fmt.Errorf("check bucket %q: %w", c.Bucket, err)
	}
	if err := objectstore.CheckPrefix(c.Prefix); err != nil {
		return nil, fmt.Errorf("check prefix of bucket %q: %w", c.Bucket, err)
	}
	if err := objectstore.CheckKey(c.Probe.key()); c.Probe.Name != "" && err != nil {
		return nil, fmt.Errorf("check probe of bucket %q: %w", c.Bucket, err)
	}

	region := cmp.Or(c.Region, s3utils.GetRegionFromURL(*u), "us-east-1")
	lookup := minio.BucketLookupDNS
	if _, err := netip.ParseAddr(u.Hostname()); c.PathStyle || err == nil || u.Scheme == "https" && strings.Contains(c.Bucket, ".") {
		lookup = minio.BucketLookupPath
	}
	transport := newTransport(l, c.Roots)
	creds, roleKeys := credentials.NewStaticV4(c.AccessKey, c.SecretKey, ""), (*role)(nil)
	if c.AccessKey == "" {
		roleKeys = &role{kind: cmp.Or(c.Role.Kind, "the role"), source: credentials.IAM{Endpoint: c.Role.Endpoint}, bound: l.call / 2}
		creds = credentials.New(roleKeys)
	}
	client, err := minio.NewCore(u.Host, &minio.Options{
		Creds: creds, Secure: u.Scheme == "https", Region: region, BucketLookup: lookup,
		Transport:  transport,
		MaxRetries: 1, // this package retries
	})
	if err != nil {
		return nil, fmt.Errorf("set up S3 client for %q: %w", u.Redacted(), err)
	}
	s := &Store{
		client: client, http: transport, role: roleKeys, limits: l,
		endpoint: u.Scheme + "://" + u.Host, region: region, bucket: c.Bucket, prefix: c.Prefix,
		secure: u.Scheme == "https", create: c.CreateBucket, prober: newProber(c.Probe),
	}
	s.sendMD5.Store(s3utils.IsGoogleEndpoint(*u))
	return s, nil
}

// CheckBucket returns an error if name cannot be the name of a bucket.
func CheckBucket(name string) error { return s3utils.CheckValidBucketNameStrict(name) }

// CheckEndpoint returns the error of Open for an endpoint. The error may quote a part of
// the endpoint.
func CheckEndpoint(endpoint string) error {
	u, err := parseEndpoint(endpoint)
	if err != nil {
		return err
	}
	_, err = minio.New(u.Host, &minio.Options{Secure: u.Scheme == "https"})
	return err
}

func parseEndpoint(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, errors.New("S3 endpoint is not a URL") // the text of err would contain a password in the URL
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, fmt.Errorf("S3 endpoint %q is not an http or https URL", u.Redacted())
	case u.User != nil, u.RawQuery != "", u.Fragment != "", u.Path != "" && u.Path != "/":
		return nil, fmt.Errorf("S3 endpoint %q has more than scheme, host and port", u.Redacted())
	}
	return u, nil
}

// Close closes idle connections. Running calls are not affected.
func (s *Store) Close() { s.http.CloseIdleConnections() }

// Get opens the object. A Body returns ErrUnavailable if it receives no data for some
// seconds, or is not read to its end within five minutes.
func (s *Store) Get(ctx context.Context, key string) (*objectstore.Object, error) {
	if err := objectstore.CheckKey(key); err != nil {
		return nil, err
	}
	var object *objectstore.Object
	err := s.do(ctx, "get", key, s.limits.call, func(try context.Context) error {
		o, err := s.get(ctx, try, key, nil)
		object = o
		return err
	})
	if err != nil {
		return nil, err
	}
	return object, nil
}

// get opens the object, or a part of it, until the caller's ctx ends. The end of the
// try's context only ends the wait for the response.
func (s *Store) get(ctx, try context.Context, key string, p *part) (*objectstore.Object, error) {
	life, cancel := context.WithTimeout(ctx, s.limits.whole)
	detach := context.AfterFunc(try, cancel)
	rc, info, header, err := s.client.GetObject(life, s.bucket, s.prefix+key, p.options())
	if err != nil {
		cancel()
		return nil, err
	}
	switch err = p.check(info, header); {
	case !detach():
		err = errors.New("response was too late")
	case info.Size < 0:
		err = errors.New("response has no length")
	}
	if err != nil {
		cancel()
		_ = rc.Close()
		return nil, err
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
			err = errors.New("response has no length")
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
	err := s.do(ctx, "delete", key, s.limits.call, func(ctx context.Context) error { return s.deleteOnce(ctx, key) })
	if errors.Is(err, objectstore.ErrNotExist) {
		return nil
	}
	return err
}

func (s *Store) deleteOnce(ctx context.Context, key string) error {
	return s.client.RemoveObject(ctx, s.bucket, s.prefix+key, minio.RemoveObjectOptions{})
}

func (s *Store) info(key string, o minio.ObjectInfo) objectstore.Info {
	return objectstore.Info{Key: key, Size: o.Size, ContentType: o.ContentType, Modified: o.LastModified.UTC(), ETag: validETag(o.ETag)}
}
