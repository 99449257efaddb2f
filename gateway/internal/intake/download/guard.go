package download

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"code.dny.dev/ssrf"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// errBlocked is returned for a forbidden address.
var errBlocked = errors.New("address not allowed")

// guard decides which addresses the dialer may connect to.
type guard struct {
	allow  []netip.Prefix // networks allowed on any port
	public *ssrf.Guardian // for all other addresses: allows public ones on ports 80 and 443
	next   func(network, address string) error
}

func newGuard(allow []netip.Prefix) *guard {
	return &guard{allow: allow, public: ssrf.New()}
}

// then sets a function that is called for each address that the guard allows.
func (g *guard) then(next func(network, address string) error) *guard {
	g.next = next
	return g
}

// control is the dialer's Control function: it checks each address before the connection.
// The allowed networks are checked first, because ssrf checks ports independently
// of prefixes.
func (g *guard) control(network, address string, c syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("%w: network %s", errBlocked, network)
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %w", errBlocked, err)
	}
	addr := to.Addr().WithZone("").Unmap()
	if !slices.ContainsFunc(g.allow, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		if err := g.public.Safe(network, address, c); err != nil {
			return fmt.Errorf("%w: %w", errBlocked, err)
		}
	}
	if g.next != nil {
		return g.next(network, address)
	}
	return nil
}

func notAllowed(text string) *pipeline.Failure {
	return &pipeline.Failure{Code: pipeline.CodeURLNotAllowed, Text: text}
}

// Guard returns a Control function for dialers of other packages, with the same rules: only
// public addresses on ports 80 and 443, and the allowed networks on any port.
func Guard(allow []netip.Prefix) func(network, address string, c syscall.RawConn) error {
	return newGuard(allow).control
}
