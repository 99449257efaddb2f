package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// wire is the line between one service and one server, and fails as networks do. It
// uses toxiproxy, which is widely known and maintained (MIT; its last release is
// v2.12.0 of March 2025), inside the harness and without its HTTP server.
//
// When a toxic that drops data (timeout, reset_peer) is removed, its connections
// end, because data is missing in them. And reset_peer sends a real reset only on
// connections that started after it; an older one ends with a FIN, without the
// rest of its data.
type wire struct {
	addr, target string

	mu    sync.Mutex // guards proxy
	proxy *toxiproxy.Proxy
}

// errStuck says that toxiproxy waits forever to change a connection, because its
// receiver stopped or died at that moment. The wire works again, but the service
// must die to end its old connections.
var errStuck = errors.New("a connection hangs in toxiproxy")

// stuckTime bounds a change of a wire.
const stuckTime = 5 * time.Second

// newWire returns a wire on an address of its own.
func newWire(target string) (*wire, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	zerolog.SetGlobalLevel(zerolog.Disabled) // Some toxics write to the library's global logger.
	w := &wire{addr: addr, target: target}
	return w, w.create()
}

// create starts a new proxy on the address, which the previous one may still use.
func (w *wire) create() error {
	w.proxy = toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), w.addr, w.addr, w.target)
	ctx, cancel := context.WithTimeout(context.Background(), stuckTime)
	defer cancel()
	var err error
	_ = poll(ctx, 20*time.Millisecond, func() bool {
		err = w.proxy.Start()
		return err == nil
	})
	return err
}

// change changes the proxy. If that hangs, it creates another one.
func (w *wire) change(do func(*toxiproxy.Proxy) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	done := make(chan error, 1)
	go func(p *toxiproxy.Proxy) { done <- do(p) }(w.proxy)
	select {
	case err := <-done:
		return err
	case <-time.After(stuckTime):
	}
	go w.proxy.Stop() // It stops listening before it hangs as well.
	return errors.Join(errStuck, w.create())
}

// toxic adds a toxic in both directions.
func (w *wire) toxic(kind string, attributes map[string]int) error {
	return w.change(func(p *toxiproxy.Proxy) error {
		for _, stream := range []string{"upstream", "downstream"} {
			text, err := json.Marshal(map[string]any{"type": kind, "stream": stream, "attributes": attributes})
			if err == nil {
				_, err = p.Toxics.AddToxicJson(bytes.NewReader(text))
			}
			if err != nil {
				return fmt.Errorf("add toxic %s: %w", kind, err)
			}
		}
		return nil
	})
}

// away ends all connections and accepts no new ones.
func (w *wire) away() error {
	return w.change(func(p *toxiproxy.Proxy) error {
		p.Stop()
		return nil
	})
}

// cut ends all connections and accepts new ones.
func (w *wire) cut() error {
	return w.change(func(p *toxiproxy.Proxy) error {
		p.Stop()
		return p.Start()
	})
}

// heal ends all trouble.
func (w *wire) heal() error {
	return w.change(func(p *toxiproxy.Proxy) error {
		p.Toxics.ResetToxics(context.Background())
		if err := p.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
			return fmt.Errorf("listen for a wire again: %w", err)
		}
		return nil
	})
}
