package service

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TrustConfig is the part of the environment that says whose certificates are
// believed where a server is spoken to over TLS.
type TrustConfig struct {
	// Certificates, in PEM, of authorities that are trusted besides the system's own: for `amqps://` without a `cacertfile`, and
	// an `https://` of S3, `GATEWAY_URL` or `OTEL_EXPORTER_OTLP_ENDPOINT`. PostgreSQL has `sslrootcert` in its URL.
	TLSCAFile string `env:"TLS_CA_FILE"`
}

// Roots are the authorities of the system and of the file, or nil without a file:
// the system's alone. A deployment may have a broker under an authority of its own
// and a bucket in a public cloud.
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
		pool = x509.NewCertPool() // a system may have none
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("TLS_CA_FILE: want certificates in PEM")
	}
	return pool, nil
}
