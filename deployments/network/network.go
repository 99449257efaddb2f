// Package network simulates a network of hosts on one Linux machine, with latency and
// with partitions between any two hosts. It needs root.
//
// Each host is a network namespace with a TUN device; host 0 is the machine itself. This
// process reads the packets of all devices and writes each to the device of its
// destination, unless the two hosts are cut off from each other. It does so in user
// space because not every kernel has netem. TCP works as on a real network: its
// handshakes and its slow start take round trips.
package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxHosts = 250
	// maxPacket is the size of a packet that TCP has not segmented yet, with its header.
	maxPacket = 64<<10 + header
	// header is the size of the header with which the kernel describes a packet that is not
	// segmented.
	header = 10
	// queue is the number of packets that can be on their way to a host. More are lost, as on a
	// real network.
	queue = 8192
)

// Network is a set of hosts.
type Network struct {
	subnet  string // first three bytes of all addresses
	hosts   []*host
	reading sync.WaitGroup
	writing sync.WaitGroup

	mu    sync.RWMutex                // guards the fields below
	delay [maxHosts + 1]time.Duration // by host
	cut   map[[2]int]bool
}

// host is one device.
type host struct {
	device  *os.File
	holder  *exec.Cmd // keeps the namespace; nil for host 0
	release io.Closer // ends the holder
	packets chan packet
}

type packet struct {
	data []byte
	due  time.Time
}

// New creates host 0 and n other hosts. The caller must close the network.
func New(n int) (*Network, error) {
	if n < 1 || n > maxHosts {
		return nil, fmt.Errorf("network of %d hosts, want 1 to %d", n, maxHosts)
	}
	subnet, err := freeSubnet()
	if err != nil {
		return nil, err
	}
	w := &Network{subnet: subnet, cut: map[[2]int]bool{}}
	for i := range n + 1 {
		h, err := w.add(i)
		if err != nil {
			return nil, fmt.Errorf("create host %d of a network: %w", i, errors.Join(err, w.Close()))
		}
		w.hosts = append(w.hosts, h)
	}
	for i, h := range w.hosts {
		w.reading.Go(func() { w.read(i) })
		w.writing.Go(h.write)
	}
	return w, nil
}

// Separate runs this program again, in a network namespace of its own, in which the devices of
// its networks are created. Elsewhere, each of them makes browsers on the machine give up all
// their requests. It returns in that namespace, or without root.
func Separate() error {
	const within = "IMAGEBATCH_NETWORK=separate"
	if os.Getuid() != 0 || slices.Contains(os.Environ(), within) {
		return nil
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		return err
	}
	args := append([]string{"unshare", "--net", "sh", "-c", `ip link set lo up && exec "$0" "$@"`}, os.Args...)
	return unix.Exec(unshare, args, append(os.Environ(), within))
}

// freeSubnet returns the first three bytes of a subnet in 10.200.0.0/13 that no device has.
func freeSubnet() (string, error) {
	devices, err := ip("-o", "-4", "addr")
	for i := range 8 * 250 {
		if subnet := fmt.Sprintf("10.%d.%d.", 200+i/250, 1+i%250); !strings.Contains(devices, " "+subnet) {
			return subnet, err
		}
	}
	return "", errors.Join(err, errors.New("no subnet is free"))
}

// ip runs ip(8).
func ip(args ...string) (string, error) {
	out, err := exec.Command("ip", args...).CombinedOutput() //nolint:noctx,gosec // It ends at once, and its arguments are ours.
	if err != nil {
		return "", fmt.Errorf("ip %q: %w: %s", args, err, out)
	}
	return string(out), nil
}

// add creates the device of a host and moves it to the namespace of the host.
func (w *Network) add(i int) (_ *host, err error) {
	name := fmt.Sprintf("imb%s%d", strings.ReplaceAll(strings.TrimPrefix(w.subnet, "10."), ".", "-"), i)
	h := &host{packets: make(chan packet, queue)}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.end())
		}
	}()
	if h.device, err = openTUN(name); err != nil {
		return nil, err
	}
	var in []string
	if i > 0 {
		// The namespace exists as long as a process in it, and this one ends with its input.
		h.holder = exec.Command("unshare", "--net", "cat") //nolint:noctx // end stops it.
		h.holder.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
		if h.release, err = h.holder.StdinPipe(); err != nil {
			return nil, err
		}
		if err := h.holder.Start(); err != nil {
			return nil, err
		}
		if err := h.unshared(); err != nil {
			return nil, err
		}
		if _, err := ip("link", "set", "dev", name, "netns", fmt.Sprint(h.holder.Process.Pid)); err != nil {
			return nil, err
		}
		in = []string{"nsenter", "--net=" + h.namespace()}
	}
	script := fmt.Sprintf("ip link set lo up && ip addr add %s/24 dev %s && ip link set %[2]s up mtu 1500", w.Addr(i), name)
	in = append(in, "sh", "-c", script)
	if out, err := exec.Command(in[0], in[1:]...).CombinedOutput(); err != nil { //nolint:noctx,gosec // As in ip.
		return nil, fmt.Errorf("%s: %w: %s", script, err, out)
	}
	return h, nil
}

// unshared waits until the holder is in a namespace of its own.
func (h *host) unshared() error {
	ours, err := os.Readlink("/proc/self/ns/net")
	for start := time.Now(); err == nil && time.Since(start) < 10*time.Second; <-time.After(time.Millisecond) {
		if theirs, err := os.Readlink(h.namespace()); err != nil || theirs != ours {
			return err
		}
	}
	return errors.Join(err, errors.New("unshare did not create a namespace"))
}

func (h *host) namespace() string { return fmt.Sprintf("/proc/%d/ns/net", h.holder.Process.Pid) }

// openTUN creates a TUN device that ends with its file. The kernel segments packets for it as
// little as for a real device.
func openTUN(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err == nil {
		err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4)
	}
	if err != nil {
		return nil, fmt.Errorf("create TUN device %s: %w", name, errors.Join(err, unix.Close(fd)))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Addr returns the address of host i.
func (w *Network) Addr(i int) string { return fmt.Sprintf("%s%d", w.subnet, i+1) }

// Namespace returns the path of the network namespace of host i, from 1, for nsenter --net.
func (w *Network) Namespace(i int) string { return w.hosts[i].namespace() }

// Distance makes every packet to or from host i take half of the round trip longer.
func (w *Network) Distance(i int, roundTrip time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay[i] = roundTrip / 2
}

// Cut cuts the hosts off from each other, or connects them again.
func (w *Network) Cut(a, b int, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[[2]int{min(a, b), max(a, b)}] = cut
}

// Isolate cuts host i off from all others, or connects it again.
func (w *Network) Isolate(i int, cut bool) {
	for other := range w.hosts {
		if other != i {
			w.Cut(i, other, cut)
		}
	}
}

// way returns how long a packet takes, and whether it arrives.
func (w *Network) way(from, to int) (time.Duration, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.delay[from] + w.delay[to], !w.cut[[2]int{min(from, to), max(from, to)}]
}

// read reads the packets of a host until its device is closed.
func (w *Network) read(from int) {
	buffer := make([]byte, maxPacket)
	for {
		n, err := w.hosts[from].device.Read(buffer)
		if err != nil {
			return
		}
		to := destination(buffer[:n])
		if to < 0 || to >= len(w.hosts) {
			continue // not IPv4, or a broadcast
		}
		delay, arrives := w.way(from, to)
		if !arrives {
			continue
		}
		select {
		case w.hosts[to].packets <- packet{append([]byte(nil), buffer[:n]...), time.Now().Add(delay)}:
		default: // Too many are on their way.
		}
	}
}

// destination returns the host to which an IPv4 packet is addressed, or -1.
func destination(data []byte) int {
	if len(data) < header+20 || data[header]>>4 != 4 {
		return -1
	}
	return int(binary.BigEndian.Uint32(data[header+16:])&0xff) - 1
}

// write writes the packets to a host until there are no more. They arrive in order, also when
// the delay has just become shorter.
func (h *host) write() {
	for p := range h.packets {
		if wait := time.Until(p.due); wait > 0 {
			<-time.After(wait)
		}
		_, _ = h.device.Write(p.data) // A device that is down loses packets.
	}
}

// end ends the host. Its namespace ends with the last process in it.
func (h *host) end() (err error) {
	if h.device != nil {
		err = h.device.Close()
	}
	if h.release != nil {
		err = errors.Join(err, h.release.Close())
	}
	if h.holder != nil && h.holder.Process != nil {
		err = errors.Join(err, h.holder.Wait())
	}
	return err
}

// Close removes all hosts. Processes that still run in a namespace lose their network.
func (w *Network) Close() (err error) {
	for _, h := range w.hosts {
		err = errors.Join(err, h.end())
	}
	w.reading.Wait()
	for _, h := range w.hosts {
		close(h.packets)
	}
	w.writing.Wait()
	return err
}
