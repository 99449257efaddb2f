package rabbitmq

import (
	"crypto/tls"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

// tls is how a node is spoken to over TLS, or nil when the library shall take it
// from the URL alone. The library takes one or the other, so what the URL says
// beside the authority is said again here.
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
