package pace

import (
	"net"
	"net/netip"
	"strconv"
)

// AddressKey returns the key of the address of a connection, as [Key] does for a URL with that
// address. It returns "" if the connection has none.
func AddressKey(remote net.Addr) string {
	to, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return ""
	}
	return withPort(to.Addr().WithZone("").Unmap().String(), strconv.Itoa(int(to.Port())))
}

// join lets the host share what is known about the address, instead of another one, or none if
// the address is "".
func (t *Table) join(h *Host, address string) {
	if old := h.address; old != nil && old.key != address {
		delete(old.names, h)
		h.address = nil
	}
	if address == "" || address == h.key || h.address != nil || len(h.names) > 0 {
		return
	}
	shared := t.host(address)
	if shared.address != nil {
		return
	}
	if shared.names == nil {
		shared.names = make(map[*Host]bool)
	}
	shared.names[h] = true
	h.address = shared
}

// inProgress returns the number of running requests to the host, or to all names of an address that
// share it.
func (h *Host) inProgress() int {
	n := h.running
	for name := range h.names {
		n += name.running
	}
	return n
}
