package gateway

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

// certificate is the gateway's TLS certificate: a chain and its key, in two files. If
// the files are replaced, the next handshake uses the new ones. A pair that cannot be
// loaded, such as one of which only the first file has been replaced, is ignored.
type certificate struct {
	files [2]string // chain and key, in PEM
	log   *slog.Logger

	mu      sync.Mutex // guards the rest
	pair    *tls.Certificate
	seen    [2]os.FileInfo // state of the files when pair was loaded
	problem string         // last error since pair was loaded, which is logged once
}

// openCertificate loads the pair for the first time.
func openCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{files: [2]string{certFile, keyFile}, log: log}
	if err := c.read(); err != nil {
		return nil, fmt.Errorf("TLS_CERT_FILE and TLS_KEY_FILE: %w", err)
	}
	return c, nil
}

// config returns the TLS configuration. It offers HTTP/1.1 only: WebSockets are upgraded
// from it, and package api's limits for slow clients, its draining and its responses to
// malformed requests apply to connections that carry one request at a time. Clients that
// prefer HTTP/2 fall back by themselves, and a proxy in front may offer it.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(), nil },
	}
}

// current returns the pair for the next handshake. Checking the files costs little
// compared with a handshake, and needs no file watcher.
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
		c.log.Error("certificate not loaded; the previous one stays in use", "error", c.problem)
	}
	return c.pair
}

// read loads the pair from the files.
func (c *certificate) read() error {
	seen, err := c.look() // before loading, so that a change during it is noticed later
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
			return now, fmt.Errorf("check certificate: %w", err)
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
