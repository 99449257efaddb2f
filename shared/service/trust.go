package service

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TrustConfig is the part of the environment that specifies which certificates are
// trusted when a service connects to a server over TLS.
type TrustConfig struct {
	// Certificates, in PEM, of authorities that are trusted in addition to the system's: for `amqps://` without a `cacertfile`,
	// and for an `https://` URL of S3, `GATEWAY_URL` or `OTEL_EXPORTER_OTLP_ENDPOINT`. For PostgreSQL, set `sslrootcert` in its URL.
	TLSCAFile string `env:"TLS_CA_FILE"`
}

// Roots returns the authorities of the system and of the file, or nil, which means the
// system's alone, if there is no file. The file adds to the system's because a
// deployment may have a broker with a private authority and a bucket in a public cloud.
func (c TrustConfig) Roots() (*x509.CertPool, error) {
	if c.TLSCAFile == "" {
		return nil, nil //nolint:nilnil // As in tls.Config.
	}
	text, err := os.ReadFile(c.TLSCAFile)
	if err != nil {
		return nil, fmt.Errorf("TLS_CA_FILE: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // the system may have no pool
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("TLS_CA_FILE: want certificates in PEM")
	}
	return pool, nil
}
