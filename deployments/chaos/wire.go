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

// wire stands between one service and one server and does what networks do. The
// work is toxiproxy's, which many know and which is well kept (MIT; v2.12.0 of
// March 2025 is its last release); it runs inside the harness, without its HTTP
// server.
//
// Two of its ways have to be known. A toxic that drops data (timeout, reset_peer)
// ends the connections that it had when it is taken away, since what was dropped
// is missing in them. And reset_peer sends a real reset only on connections that
// were made while it was there; an older one is ended without the rest of its
// data and with a FIN.
type wire struct {
	addr, target string

	mu    sync.Mutex // guards proxy
	proxy *toxiproxy.Proxy
}

// errStuck says that toxiproxy holds a connection on which neither side gets on:
// it waits for ever to change a link whose receiver died at that moment. The wire
// works again; the service's old connections have to be ended by its death.
var errStuck = errors.New("a connection hangs in toxiproxy")

// stuckTime is how long a change of a wire may take. A receiver that is stopped
// makes it wait as well.
const stuckTime = 5 * time.Second

func newWire(addr, target string) (*wire, error) {
	zerolog.SetGlobalLevel(zerolog.Disabled) // some toxics write to the library's own global logger
	w := &wire{addr: addr, target: target}
	return w, w.make()
}

// make puts a new proxy on the address, which the one before may not have left yet.
func (w *wire) make() error {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	w.proxy = toxiproxy.NewProxy(server, w.addr, w.addr, w.target)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		switch err := w.proxy.Start(); {
		case err == nil:
			return nil
		case time.Since(began) > stuckTime:
			return fmt.Errorf("listen for a wire: %w", err)
		}
	}
}

// change does something to the proxy, or gives the wire another one.
func (w *wire) change(do func(*toxiproxy.Proxy) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	done := make(chan error, 1)
	go func(p *toxiproxy.Proxy) { done <- do(p) }(w.proxy)
	wait := time.NewTimer(stuckTime)
	defer wait.Stop()
	select {
	case err := <-done:
		return err
	case <-wait.C:
	}
	go w.proxy.Stop() // it stops listening before it hangs as well
	return errors.Join(errStuck, w.make())
}

// toxic adds one, for both directions.
func (w *wire) toxic(kind string, attributes map[string]int) error {
	return w.change(func(p *toxiproxy.Proxy) error {
		for _, stream := range []string{"upstream", "downstream"} {
			text, err := json.Marshal(map[string]any{"type": kind, "stream": stream, "attributes": attributes})
			if err != nil {
				return fmt.Errorf("encode toxic: %w", err)
			}
			if _, err := p.Toxics.AddToxicJson(bytes.NewReader(text)); err != nil {
				return fmt.Errorf("add toxic %s: %w", kind, err)
			}
		}
		return nil
	})
}

// away ends all connections and takes no new one.
func (w *wire) away() error {
	return w.change(func(p *toxiproxy.Proxy) error {
		p.Stop()
		return nil
	})
}

// cut ends all connections, and new ones are welcome.
func (w *wire) cut() error {
	return w.change(func(p *toxiproxy.Proxy) error {
		p.Stop()
		return p.Start()
	})
}

// heal ends whatever was wrong.
func (w *wire) heal() error {
	return w.change(func(p *toxiproxy.Proxy) error {
		p.Toxics.ResetToxics(context.Background())
		if err := p.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
			return fmt.Errorf("listen for a wire again: %w", err)
		}
		return nil
	})
}

// close ends all of it.
func (w *wire) close() error { return w.away() }
