package network_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/deployments/network"
)

func TestMain(m *testing.M) {
	if err := network.Separate(); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// TestNetwork verifies that hosts reach each other with their distance as round trip, that a
// large transfer arrives complete, and that hosts that are cut off do not reach each other.
func TestNetwork(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	w, err := network.New(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	// A server in host 1 that sends back what it gets.
	const size = 8 << 20
	echo := exec.CommandContext(t.Context(), "nsenter", "--net="+w.Namespace(1), "python3", "-c", fmt.Sprintf(`
import socket
s = socket.create_server((%q, 7000))
print("listening", flush=True)
while True:
    c, _ = s.accept()
    while data := c.recv(65536): c.sendall(data)
    c.close()`, w.Addr(1)))
	out, err := echo.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := echo.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = echo.Cancel(); _ = echo.Wait() })
	if _, err := fmt.Fscanln(out, new(string)); err != nil {
		t.Fatalf("the echo server did not start: %v", err)
	}
	roundTrip := func() time.Duration {
		t.Helper()
		conn, err := net.Dial("tcp", w.Addr(1)+":7000") //nolint:noctx // It is closed.
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		start := time.Now()
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		return time.Since(start)
	}
	near := roundTrip()
	w.Distance(1, 50*time.Millisecond)
	if far := roundTrip(); far < 50*time.Millisecond || near > 50*time.Millisecond {
		t.Errorf("round trip %s, and %s at a distance of 50ms", near, far)
	}
	w.Distance(1, 0)
	conn, err := net.Dial("tcp", w.Addr(1)+":7000") //nolint:noctx // It is closed.
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = conn.Write(make([]byte, size)) }()
	start := time.Now()
	if n, err := io.CopyN(io.Discard, conn, size); err != nil {
		t.Errorf("%d of %d bytes returned: %v", n, size, err)
	}
	t.Logf("%d bytes there and back in %s", size, time.Since(start))
	_ = conn.Close() // The server serves one connection at a time.
	reaches := func(from, to int) bool {
		return exec.CommandContext(t.Context(), "nsenter", "--net="+w.Namespace(from), "python3", "-c",
			fmt.Sprintf("import socket; socket.create_connection((%q, 7000), timeout=0.5)", w.Addr(to))).Run() == nil
	}
	if !reaches(2, 1) {
		t.Error("host 2 does not reach host 1")
	}
	w.Cut(1, 2, true)
	if reaches(2, 1) {
		t.Error("host 2 reaches host 1, from which it is cut off")
	}
	if roundTrip() > time.Second {
		t.Error("host 0 does not reach host 1, although only host 2 is cut off")
	}
	w.Cut(1, 2, false)
	if !reaches(2, 1) {
		t.Error("host 2 does not reach host 1 after the partition")
	}
	w.Isolate(1, true)
	if reaches(2, 1) {
		t.Error("host 2 reaches host 1, which is isolated")
	}
}
