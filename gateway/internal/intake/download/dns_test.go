package download

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// nameServer is a resolver whose server responds with an error code, or not at all, until a time.
func nameServer(code dnsmessage.RCode, silent bool, until time.Time) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			for {
				var size [2]byte
				if _, err := io.ReadFull(there, size[:]); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(there, query); err != nil {
					return
				}
				early := time.Now().Before(until)
				if early && silent {
					_, _ = io.Copy(io.Discard, there)
					return
				}
				var m dnsmessage.Message
				if m.Unpack(query) != nil {
					return
				}
				q := m.Questions[0]
				m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
				if early {
					m.RCode = code
				} else if q.Type == dnsmessage.TypeA {
					m.Answers = []dnsmessage.Resource{{
						Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
						Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
					}}
				}
				reply, err := m.Pack()
				if err != nil {
					return
				}
				if _, err := there.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
					return
				}
			}
		}()
		return here, nil
	}}
}

// TestFailuresOfTheNameServerAreRetried verifies that a name server that fails or is silent for some time fails no
// image, that a name that does not exist is not looked up again, and that all of them read the same.
func TestFailuresOfTheNameServerAreRetried(t *testing.T) {
	// The resolver's configuration is created by the first lookup, which must be outside of the bubbles.
	if addrs, err := nameServer(0, false, time.Time{}).LookupHost(t.Context(), "example.com"); err != nil {
		t.Fatal(addrs, err)
	}
	for name, tc := range map[string]struct {
		code   dnsmessage.RCode
		silent bool
		lasts  time.Duration
		want   bool
		within time.Duration
	}{
		"SERVFAIL for 0.6 s":      {dnsmessage.RCodeServerFailure, false, 600 * time.Millisecond, true, 3 * time.Second},
		"SERVFAIL for an hour":    {dnsmessage.RCodeServerFailure, false, time.Hour, false, 3 * time.Second},
		"no response for 5 s":     {0, true, 5 * time.Second, true, 12 * time.Second},
		"no response for 15 s":    {0, true, 15 * time.Second, true, 25 * time.Second},
		"no response for an hour": {0, true, time.Hour, false, 35 * time.Second},
		"no such name":            {dnsmessage.RCodeNameError, false, time.Hour, false, 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := client(t, Config{resolver: nameServer(tc.code, tc.silent, time.Now().Add(tc.lasts)), pause: jitter})
				// The lookup is real; the connection has no network.
				var served sync.WaitGroup
				resolver := c.config.resolver
				c.transport.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
					host, _, _ := net.SplitHostPort(addr)
					if _, err := resolver.LookupIPAddr(ctx, host); err != nil {
						return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
					}
					here, there := net.Pipe()
					served.Go(func() {
						defer there.Close()
						_, _ = there.Read(make([]byte, 4096))
						io.WriteString(there, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
					})
					return here, nil
				}
				start := time.Now()
				data, err := get(t, c, "http://images.example.com/")
				if tc.want && (err != nil || string(data) != "ok") {
					t.Errorf("got %q, %v, want \"ok\"", data, err)
				} else if !tc.want {
					wantFailure(t, err, pipeline.CodeDownloadFailed, textNoHeader)
				}
				if took := time.Since(start); took > tc.within {
					t.Errorf("took %v, want at most %v", took, tc.within)
				}
				served.Wait()
			})
		})
	}
}
