// Package remote opens the servers that a deployed service works with: RabbitMQ
// and an S3 server, as the environment names them. Opening never waits for a
// server and never fails because one is away: each connects by itself, and
// Ready tells what is missing.
package remote

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
	"github.com/imagebatch/imagebatch/shared/meter"
	"github.com/imagebatch/imagebatch/shared/metrics"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/s3store"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/tracing"
)

// BrokerConfig is the part of the environment that names RabbitMQ.
type BrokerConfig struct {
	service.TrustConfig
	RabbitMQURL     []string `env:"RABBITMQ_URL" envDefault:"amqp://guest:guest@127.0.0.1:5672/"` // comma-separated for a cluster
	RabbitMQDeclare bool     `env:"RABBITMQ_DECLARE" envDefault:"true"`                           // the gateway declares the queues; false: it only checks
}

// Validate reports everything that is wrong with the configuration.
func (c BrokerConfig) Validate() error {
	_, err := c.Roots()
	errs := []error{err}
	for _, raw := range c.RabbitMQURL {
		if u, err := url.Parse(raw); err != nil || u.Scheme != "amqp" && u.Scheme != "amqps" || u.Host == "" {
			errs = append(errs, errors.New("RABBITMQ_URL: want amqp://user:password@host:port/ or amqps://…"))
		}
	}
	return errors.Join(errs...)
}

// Open opens the broker, with the queues of the pipeline. It declares them when
// both declare and the configuration say so; registry, which may be nil, counts
// what it does to them. The caller ends it with Close.
func (c BrokerConfig) Open(declare bool, log *slog.Logger, registry *metrics.Registry) (*rabbitmq.Broker, error) {
	roots, err := c.Roots()
	if err != nil {
		return nil, err
	}
	b, err := rabbitmq.Open(rabbitmq.Config{
		URLs:    c.RabbitMQURL,
		Roots:   roots,
		Declare: declare && c.RabbitMQDeclare,
		WorkQueues: []string{
			pipeline.ImageUpload.Name, pipeline.MetadataGenerated.Name, pipeline.ImageProcessed.Name,
		},
		Metrics: registry,
	}, log)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	return b, nil
}

// Config is the part of the environment that names the servers.
type Config struct {
	BrokerConfig

	S3Endpoint        string `env:"S3_ENDPOINT" envDefault:"http://127.0.0.1:9000"` // a URL
	S3AccessKey       string `env:"S3_ACCESS_KEY"`                                  // empty: an instance or web-identity role
	S3SecretKey       string `env:"S3_SECRET_KEY"`
	S3Region          string `env:"S3_REGION" envDefault:"us-east-1"`
	S3BucketOriginal  string `env:"S3_BUCKET_ORIGINAL" envDefault:"original"`
	S3BucketProcessed string `env:"S3_BUCKET_PROCESSED" envDefault:"processed"`
	S3PrefixOriginal  string `env:"S3_PREFIX_ORIGINAL"`
	S3PrefixProcessed string `env:"S3_PREFIX_PROCESSED"`
	S3PathStyle       bool   `env:"S3_PATH_STYLE" envDefault:"true"`
	S3CreateBuckets   bool   `env:"S3_CREATE_BUCKETS" envDefault:"false"`
}

// Validate reports everything that is wrong with the configuration.
func (c Config) Validate() error {
	errs := []error{c.BrokerConfig.Validate()}
	if u, err := url.Parse(c.S3Endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		errs = append(errs, fmt.Errorf("S3_ENDPOINT %q: want http://host:port or https://host", c.S3Endpoint))
	}
	if (c.S3AccessKey == "") != (c.S3SecretKey == "") {
		errs = append(errs, errors.New("S3_ACCESS_KEY and S3_SECRET_KEY: set both, or neither for a role"))
	}
	if c.S3BucketOriginal == c.S3BucketProcessed && c.S3PrefixOriginal == c.S3PrefixProcessed {
		errs = append(errs, errors.New("S3_BUCKET_ORIGINAL and S3_BUCKET_PROCESSED: the same bucket needs two prefixes (S3_PREFIX_ORIGINAL, S3_PREFIX_PROCESSED)"))
	}
	return errors.Join(errs...)
}

// Servers are the opened servers, and what else a service is given.
type Servers struct {
	Broker               broker.Broker
	Originals, Processed objectstore.Store
	Log                  *slog.Logger
	Metrics              *metrics.Registry
	Traces               *tracing.Tracer
	close                func() error
}

func (c Config) open(declare bool, traces *tracing.Tracer, log *slog.Logger, m *metrics.Registry) (*Servers, error) {
	roots, err := c.Roots()
	if err != nil {
		return nil, err
	}
	originals, err := s3store.Open(c.store(c.S3BucketOriginal, c.S3PrefixOriginal, roots))
	if err != nil {
		return nil, fmt.Errorf("store of originals: %w", err)
	}
	processed, err := s3store.Open(c.store(c.S3BucketProcessed, c.S3PrefixProcessed, roots))
	if err != nil {
		return nil, fmt.Errorf("store of processed images: %w", err)
	}
	b, err := c.Open(declare, log, m)
	if err != nil {
		return nil, err
	}
	return &Servers{
		Broker:    tracing.Broker(meter.Broker(b, m), traces),
		Originals: tracing.Store(meter.Store(originals, "originals", m), "originals", traces),
		Processed: tracing.Store(meter.Store(processed, "processed", m), "processed", traces),
		Log:       log, Metrics: m, Traces: traces, close: b.Close,
	}, nil
}

func (c Config) store(bucket, prefix string, roots *x509.CertPool) s3store.Config {
	return s3store.Config{
		Endpoint: c.S3Endpoint, AccessKey: c.S3AccessKey, SecretKey: c.S3SecretKey, Region: c.S3Region,
		Bucket: bucket, Prefix: prefix, PathStyle: c.S3PathStyle, CreateBucket: c.S3CreateBuckets, Roots: roots,
	}
}
