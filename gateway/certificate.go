package gateway

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

// certificate is what the gateway shows to clients that speak TLS: a chain and
// its key, in two files. Whoever renews it puts new files in their place, and the
// next handshake shows those. A pair that can't be used, as in the moment between
// the two, changes nothing.
type certificate struct {
	files [2]string // chain and key, in PEM
	log   *slog.Logger

	mu      sync.Mutex // guards the rest
	pair    *tls.Certificate
	seen    [2]os.FileInfo // of the files as they were read into pair
	problem string         // with what came after pair; it is logged once
}

// openCertificate reads the files for the first time.
func openCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{files: [2]string{certFile, keyFile}, log: log}
	if err := c.read(); err != nil {
		return nil, fmt.Errorf("TLS_CERT_FILE and TLS_KEY_FILE: %w", err)
	}
	return c, nil
}

// config is how the gateway speaks TLS. It offers HTTP/1.1 only: WebSockets are
// upgraded from it, and the bounds of package api on slow clients, its drain and
// its answers to malformed requests are those of a connection that carries one
// request at a time. Clients that would rather have HTTP/2 fall back by
// themselves, and a proxy in front may speak it.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(), nil },
	}
}

// current is the pair for the next handshake. Asking the file system costs
// nothing beside one, and needs nobody who watches.
func (c *certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, err := c.look()
	if err == nil && c.problem == "" && same(c.seen, now) {
		return c.pair
	}
	switch err := c.read(); {
	case err == nil:
		c.problem = ""
		c.log.Info("certificate loaded", "file", c.files[0], "valid_until", c.pair.Leaf.NotAfter)
	case err.Error() != c.problem:
		c.problem = err.Error()
		c.log.Error("certificate not loaded, the one before it stays", "error", c.problem)
	}
	return c.pair
}

// read takes the files as they are, if they are a pair.
func (c *certificate) read() error {
	seen, err := c.look() // before reading: what changes meanwhile is read again
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.files[0], c.files[1])
	if err != nil {
		return fmt.Errorf("load %s: %w", c.files[0], err)
	}
	c.pair, c.seen = &pair, seen
	return nil
}

func (c *certificate) look() (now [2]os.FileInfo, err error) {
	for i, file := range c.files {
		if now[i], err = os.Stat(file); err != nil {
			return now, fmt.Errorf("look at certificate: %w", err)
		}
	}
	return now, nil
}

func same(before, now [2]os.FileInfo) bool {
	for i := range before {
		if !os.SameFile(before[i], now[i]) || before[i].Size() != now[i].Size() || !before[i].ModTime().Equal(now[i].ModTime()) {
			return false
		}
	}
	return true
}
