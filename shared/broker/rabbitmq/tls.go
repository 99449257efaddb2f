package rabbitmq

import (
	"crypto/tls"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

// tls returns the TLS configuration for a node, or nil if the library should derive it
// from the URL. The library uses only one of the two, so the other TLS settings of the
// URL are repeated here.
func (c Config) tls(url string) (*tls.Config, error) {
	uri, err := amqp.ParseURI(url)
	if err != nil || c.Roots == nil || uri.CACertFile != "" {
		return nil, err
	}
	t := &tls.Config{RootCAs: c.Roots, ServerName: uri.ServerName, MinVersion: tls.VersionTLS12}
	if uri.CertFile != "" && uri.KeyFile != "" {
		own, err := tls.LoadX509KeyPair(uri.CertFile, uri.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("load client certificate: %w", err)
		}
		t.Certificates = []tls.Certificate{own}
	}
	return t, nil
}
