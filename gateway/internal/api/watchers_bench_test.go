package api_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"nhooyr.io/websocket"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// crowd is the environment variable that makes this process the clients of
// BenchmarkWatchers, and specifies their number. The clients have a separate process so
// that neither memory nor descriptors are counted twice.
const crowd = "TEST_CROWD"

// cost is the memory of one socket and the time to notify all sockets.
type cost struct{ heap, rss, left, last float64 }

// BenchmarkWatchers lets ten thousand sockets watch one job over loopback. It measures the
// bytes of each in the server's process, the time from an image's end to the last
// notified socket, the server's processor time for it and its memory then, before the garbage
// is collected, and what is left of each socket after all have disconnected. "bare" is the
// library alone, with one goroutine that reads and one that writes, and the same clients.
// "events" watches with event streams instead of sockets.
func BenchmarkWatchers(b *testing.B) {
	const watchers = 10_000
	var bare cost
	b.Run("bare", func(b *testing.B) {
		notify := make(chan struct{})
		var frame atomic.Pointer[chan struct{}]
		frame.Store(&notify)
		var running sync.WaitGroup
		server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled})
			if err != nil {
				b.Error(err)
				return
			}
			running.Add(1)
			go bareSocket(&running, context.WithoutCancel(r.Context()), conn, &frame)
		})}
		l, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Serve(l) }()
		b.Cleanup(func() { _ = server.Close(); <-done })
		bare = measure(b, watchers, l.Addr().String(), "/", running.Wait, func(int) {
			next := make(chan struct{})
			close(*frame.Swap(&next))
		})
	})
	gateway := func(b *testing.B, route string) cost {
		b.Helper()
		r := setup(b, options{})
		now := time.Now()
		images := make([]job.Image, 1000)
		for i := range images {
			images[i].OriginalFilename = fmt.Sprintf("image%d.png", i)
			images[i].Original = job.Original{Path: fmt.Sprint("x/", i), ContentType: "image/png", Size: 1, SHA256: "00"}
		}
		const id = "a1b2c3d4-e5f6-4890-abcd-ef1234567890"
		r.must(r.jobs.Create(b.Context(), job.New(id, images, now)))
		return measure(b, watchers, strings.TrimPrefix(r.url, "http://"), "/api/v1/batch/"+id+route, r.noSockets, func(i int) {
			if i >= len(images)-1 {
				b.Fatal("no open image is left")
			}
			r.end(id, i, nil)
		})
	}
	var sockets cost
	b.Run("gateway", func(b *testing.B) {
		sockets = gateway(b, "/ws")
		if bare.heap > 0 {
			b.ReportMetric(sockets.heap/bare.heap, "heap/bare")
			b.ReportMetric(sockets.last/bare.last, "last/bare")
		}
	})
	b.Run("events", func(b *testing.B) {
		got := gateway(b, eventsRoute)
		if sockets.heap > 0 {
			b.ReportMetric(got.heap/sockets.heap, "heap/socket")
			b.ReportMetric(got.last/sockets.last, "last/socket")
		}
	})
}

const eventsRoute = "/events"

// bareSocket sends one frame first and one more for each signal.
func bareSocket(running *sync.WaitGroup, ctx context.Context, conn *websocket.Conn, frame *atomic.Pointer[chan struct{}]) { //nolint:revive // The group comes first, as with Go.
	defer running.Done()
	defer func() { _ = conn.CloseNow() }()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			if _, _, err := conn.Read(ctx); err != nil {
				return
			}
		}
	}()
	text := []byte(strings.Repeat("x", 400))
	for {
		next := *frame.Load()
		if conn.Write(ctx, websocket.MessageText, text) != nil {
			return
		}
		select {
		case <-next:
		case <-gone:
			return
		}
	}
}

// measure connects the clients, notifies them, and disconnects them.
func measure(b *testing.B, watchers int, addr, path string, gone func(), notify func(i int)) cost {
	b.Helper()
	heap, rss := usage(b)
	routines := runtime.NumGoroutine()
	client := exec.CommandContext(b.Context(), os.Args[0]) //nolint:gosec // It is this program.
	client.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s %s", crowd, watchers, addr, path))
	client.Stderr = os.Stderr
	in, err := client.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := client.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := client.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	wait := func() time.Time { // until every client has got one more frame
		if !lines.Scan() {
			b.Fatal("the clients ended: ", lines.Err(), client.Wait())
		}
		at, err := strconv.ParseInt(lines.Text(), 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		return time.Unix(0, at)
	}
	wait()
	var c cost
	each := func(now, before uint64) float64 { return float64(int64(now)-int64(before)) / float64(watchers) } //nolint:gosec // Sizes of memory.
	heapOpen, rssOpen := usage(b)
	c.heap, c.rss = each(heapOpen, heap), each(rssOpen, rss)

	var total time.Duration
	i, before := 0, processorTime(b)
	for b.Loop() {
		started := time.Now()
		notify(i)
		total += wait().Sub(started)
		i++
	}
	c.last = total.Seconds() * 1000 / float64(i)
	b.ReportMetric((processorTime(b)-before).Seconds()*1000/float64(i), "cpu-ms")
	b.ReportMetric(each(resident(b), rss), "notified-rss-B/socket")
	if err := in.Close(); err != nil {
		b.Fatal(err)
	}
	if err := client.Wait(); err != nil {
		b.Fatal(err)
	}
	gone()
	for runtime.NumGoroutine() > routines+10 { // the goroutines that watch connections end a moment later
		runtime.Gosched()
	}
	heapAfter, _ := usage(b)
	c.left = each(heapAfter, heap)
	b.ReportMetric(c.heap, "heap-B/socket")
	b.ReportMetric(c.rss, "rss-B/socket")
	b.ReportMetric(c.left, "left-B/socket")
	b.ReportMetric(c.last, "last-ms")
	b.ReportMetric(float64(runtime.NumGoroutine()-routines), "left-goroutines")
	return c
}

// usage returns the memory of the process after a garbage collection: heap and stacks in
// use, and resident memory.
func usage(b *testing.B) (inUse, rss uint64) {
	b.Helper()
	runtime.GC()
	debug.FreeOSMemory() // the second call also frees what the first one only released
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapInuse + stats.StackInuse, resident(b)
}

// processorTime returns the time, user and system, that the process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// resident returns the resident memory of the process.
func resident(b *testing.B) uint64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("cannot read the resident memory: ", err)
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	fields := strings.Fields(after)
	if len(fields) == 0 {
		b.Fatal("got no VmRSS")
	}
	kib, err := strconv.ParseUint(fields[0], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib << 10
}

// beCrowd runs the clients' process. It writes the time on a line whenever every client
// has got one more frame, and ends with its input.
func beCrowd(order string) error {
	var n int
	var addr, path string
	if _, err := fmt.Sscanf(order, "%d %s %s", &n, &addr, &path); err != nil {
		return fmt.Errorf("read %s: %w", crowd, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var had atomic.Int64
	faults := make(chan error, n)
	slots := make(chan struct{}, 64) // so that the listener's queue does not overflow
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			slots <- struct{}{}
			// One source address does not have enough ports for all of them.
			from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i/4000))}}
			conn, err := from.DialContext(ctx, "tcp", addr)
			if err != nil {
				<-slots
				faults <- err
				return
			}
			release := sync.OnceFunc(func() { <-slots })
			defer release()
			go func() { <-ctx.Done(); _ = conn.Close() }()
			read, header := readFrames, headerLines(upgrade)
			if strings.HasSuffix(path, eventsRoute) {
				read, header = readEvents, ""
			}
			_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, header)
			if err == nil {
				err = read(bufio.NewReaderSize(conn, 512), func() {
					release()
					if had.Add(1)%int64(n) == 0 {
						fmt.Println(time.Now().UnixNano())
					}
				})
			}
			if ctx.Err() == nil {
				faults <- err
			}
		})
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _, _ = io.Copy(io.Discard, os.Stdin) }()
	var err error
	select {
	case err = <-faults:
	case <-ended:
	}
	stop()
	all.Wait()
	return err
}

// readFrames reads the response to the handshake and calls notified for every text frame.
func readFrames(in *bufio.Reader, notified func()) error {
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // a 101 has no body
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return errors.New(resp.Status)
	}
	for {
		var head [4]byte
		if _, err := io.ReadFull(in, head[:2]); err != nil {
			return err
		}
		size := int(head[1])
		if size == 126 {
			if _, err := io.ReadFull(in, head[2:]); err != nil {
				return err
			}
			size = int(binary.BigEndian.Uint16(head[2:]))
		}
		if _, err := in.Discard(size); err != nil {
			return err
		}
		if head[0] == finText {
			notified()
		}
	}
}

// readEvents reads the response to a request for an event stream and calls notified for every
// event.
func readEvents(in *bufio.Reader, notified func()) error {
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	lines := bufio.NewReaderSize(resp.Body, 512)
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if strings.HasPrefix(string(line), "event:") {
			notified()
		}
	}
}
