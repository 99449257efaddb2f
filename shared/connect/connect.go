// Package connect opens the servers that a deployed service works with, RabbitMQ
// and an S3 server, as the environment specifies. Opening never waits for a server
// and never fails because one is unavailable: each adapter connects on its own,
// and its Ready reports what is missing.
package connect

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/s3store"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// BrokerConfig is the part of the environment that configures RabbitMQ.
type BrokerConfig struct {
	// URL of RabbitMQ (4.0 to 4.3), `amqps://` for TLS. For a cluster, the URLs of all nodes separated by commas: each process
	// uses one of them, at random. [Permissions](operations.md#least-permissions).
	RabbitMQURL []service.SecretURL `env:"RABBITMQ_URL" envDefault:"amqp://guest:guest@127.0.0.1:5672/"`
	// The gateway declares the queues, and the other services wait for them. `false`: the gateway only checks that they exist,
	// and [you declare them](operations.md#rabbitmq).
	RabbitMQDeclare bool `env:"RABBITMQ_DECLARE" envDefault:"true"`
	service.TrustConfig
}

// Validate returns an error that lists every mistake in the configuration.
func (c BrokerConfig) Validate() error {
	_, err := c.Roots()
	errs := []error{err}
	for _, raw := range c.RabbitMQURL {
		if u, err := url.Parse(raw.Reveal()); err != nil || u.Host == "" || rabbitmq.CheckURL(raw.Reveal()) != nil {
			errs = append(errs, errors.New("RABBITMQ_URL: want amqp://user:password@host:port/ or amqps://…"))
		}
	}
	return errors.Join(errs...)
}

// Open opens the broker with the queues of the pipeline. RabbitMQ shows the name of its
// connections. It declares the queues if both declare and the configuration say so. registry, which may be nil, counts queue
// operations. The caller closes the broker with Close.
func (c BrokerConfig) Open(name string, declare bool, log *slog.Logger, registry *telemetry.Registry) (*rabbitmq.Broker, error) {
	roots, err := c.Roots()
	if err != nil {
		return nil, err
	}
	var urls []string
	for _, u := range c.RabbitMQURL {
		urls = append(urls, u.Reveal())
	}
	b, err := rabbitmq.Open(rabbitmq.Config{
		URLs:       urls,
		Roots:      roots,
		Name:       name,
		Declare:    declare && c.RabbitMQDeclare,
		Watch:      declare && !c.RabbitMQDeclare,
		WorkQueues: pipeline.WorkQueues(), AddedQueues: []string{pipeline.ImageDescribed.Name},
		Metrics: registry,
	}, log)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	return b, nil
}

// Config is the part of the environment that configures RabbitMQ and the S3 server.
type Config struct {
	BrokerConfig
	RoleConfig

	// URL of the S3 server.
	S3Endpoint service.SecretURL `env:"S3_ENDPOINT" envDefault:"http://127.0.0.1:9000"`
	// Credentials. If both are empty, the service uses those of [a role](#keys-of-a-role).
	S3AccessKey string         `env:"S3_ACCESS_KEY"`
	S3SecretKey service.Secret `env:"S3_SECRET_KEY"`
	// Region of the buckets.
	S3Region string `env:"S3_REGION" envDefault:"us-east-1"`
	// Buckets. They may be the same bucket if the prefixes differ.
	S3BucketOriginal  string `env:"S3_BUCKET_ORIGINAL" envDefault:"original"`
	S3BucketProcessed string `env:"S3_BUCKET_PROCESSED" envDefault:"processed"`
	// Prefix of every key.
	S3PrefixOriginal  string `env:"S3_PREFIX_ORIGINAL"`
	S3PrefixProcessed string `env:"S3_PREFIX_PROCESSED"`
	// `true`: URLs are `http://host/bucket/key`. `false`: `http://bucket.host/key`, unless the host is an IP address, or the
	// bucket's name contains dots and the URL is `https://`.
	S3PathStyle bool `env:"S3_PATH_STYLE" envDefault:"true"`
	// Create missing buckets.
	S3CreateBuckets bool `env:"S3_CREATE_BUCKETS" envDefault:"false"`
}

// Validate returns an error that lists every mistake in the configuration.
func (c Config) Validate() error {
	errs := append(c.validate(), c.BrokerConfig.Validate())
	if s3store.CheckEndpoint(c.S3Endpoint.Reveal()) != nil {
		errs = append(errs, fmt.Errorf("S3_ENDPOINT %v: want http://host:port or https://host", c.S3Endpoint))
	}
	if (c.S3AccessKey == "") != (c.S3SecretKey == "") {
		errs = append(errs, errors.New("S3_ACCESS_KEY and S3_SECRET_KEY: set both, or neither for a role"))
	}
	for _, place := range []struct{ of, bucket, prefix string }{
		{"ORIGINAL", c.S3BucketOriginal, c.S3PrefixOriginal}, {"PROCESSED", c.S3BucketProcessed, c.S3PrefixProcessed},
	} {
		if err := s3store.CheckBucket(place.bucket); err != nil {
			errs = append(errs, fmt.Errorf("S3_BUCKET_%s %q: %w", place.of, place.bucket, err))
		}
		if err := objectstore.CheckPrefix(place.prefix); err != nil {
			errs = append(errs, fmt.Errorf("S3_PREFIX_%s %q: %w", place.of, place.prefix, err))
		}
	}
	if c.S3BucketOriginal == c.S3BucketProcessed && c.S3PrefixOriginal == c.S3PrefixProcessed {
		errs = append(errs, errors.New("S3_BUCKET_ORIGINAL and S3_BUCKET_PROCESSED: the same bucket needs two prefixes (S3_PREFIX_ORIGINAL, S3_PREFIX_PROCESSED)"))
	}
	return errors.Join(errs...)
}

// Servers are the opened servers, the log and the telemetry of a service.
type Servers struct {
	Broker               broker.Broker
	Browser              broker.Browser
	Originals, Processed objectstore.Store
	Log                  *slog.Logger
	Metrics              *telemetry.Registry
	Traces               *telemetry.Tracer
	close                func() error
}

func (c Config) open(p Process, traces *telemetry.Tracer, log *slog.Logger, m *telemetry.Registry) (*Servers, error) {
	roots, err := c.Roots()
	if err != nil {
		return nil, err
	}
	originals, err := s3store.Open(c.store(c.S3BucketOriginal, c.S3PrefixOriginal, roots, p.probe(p.PutsOriginals, "")))
	if err != nil {
		return nil, fmt.Errorf("store of originals: %w", err)
	}
	processed, err := s3store.Open(c.store(c.S3BucketProcessed, c.S3PrefixProcessed, roots, p.probe(p.PutsProcessed, p.ProcessedBelow)))
	if err != nil {
		return nil, fmt.Errorf("store of processed images: %w", err)
	}
	b, err := c.Open(p.Name, p.Declares, log, m)
	if err != nil {
		return nil, err
	}
	return &Servers{
		Broker:    telemetry.Broker(b, m, traces),
		Browser:   b,
		Originals: telemetry.Store(originals, "originals", m, traces),
		Processed: telemetry.Store(processed, "processed", m, traces),
		Log:       log, Metrics: m, Traces: traces, close: b.Close,
	}, nil
}

func (c Config) store(bucket, prefix string, roots *x509.CertPool, probe s3store.Probe) s3store.Config {
	return s3store.Config{
		Endpoint: c.S3Endpoint.Reveal(), AccessKey: c.S3AccessKey, SecretKey: c.S3SecretKey.Reveal(), Role: c.role(), Region: c.S3Region,
		Bucket: bucket, Prefix: prefix, PathStyle: c.S3PathStyle, CreateBucket: c.S3CreateBuckets, Probe: probe, Roots: roots,
	}
}

// probe returns the probe of a store that the service puts objects into or not, all of them below a prefix.
func (p Process) probe(puts bool, below string) s3store.Probe {
	if !puts {
		return s3store.Probe{}
	}
	return s3store.Probe{Name: p.Name, Below: below, Stays: !p.Deletes}
}
