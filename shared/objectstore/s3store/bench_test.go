package s3store

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// sizes are the sizes of an image, and of its thumbnail or record.
var sizes = []int{400_000, 12_000}

func BenchmarkPut(b *testing.B) {
	s := opened(b, configOf(b, "TEST_S3"), standard)
	for _, size := range sizes {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			data := bytes.Repeat([]byte("0123456789"), size/10)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := s.Put(b.Context(), fmt.Sprintf("%d/%d", size, i%100), objectstore.Content{Data: data, Type: "image/jpeg"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkChecksums compares the CPU time of a PUT with each checksum to that of a PUT
// without one. The three take turns, so that all see the same machine. The time includes
// that of the server, which only discards the data.
func BenchmarkChecksums(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("ETag", `"etag"`)
	}))
	defer server.Close()
	s := opened(b, Config{Endpoint: server.URL, AccessKey: "key", SecretKey: "secret", Bucket: "original"}, relaxed)
	kinds := []struct {
		name string
		with checksum
	}{
		{"none", func([]byte, *minio.PutObjectOptions) string { return "" }},
		{"crc32c", withCRC32C},
		{"md5", withMD5},
	}
	for _, size := range []int{1 << 20, 10 << 20} {
		for _, secure := range []bool{false, true} {
			b.Run(fmt.Sprintf("MiB=%d/sha256=%v", size>>20, !secure), func(b *testing.B) {
				s.secure = secure // without TLS all the same: only the SHA-256 of the signature is left out
				c := objectstore.Content{Data: bytes.Repeat([]byte("0123456789abcdef"), size/16), Type: "image/jpeg"}
				s.sign(&c)
				used := make([]time.Duration, len(kinds))
				rounds := 0
				for b.Loop() {
					rounds++
					for i, kind := range kinds {
						before := cpuTime(b)
						if err := s.send(b.Context(), "key", c, minio.PutObjectOptions{}, kind.with); err != nil {
							b.Fatal(err)
						}
						used[i] += cpuTime(b) - before
					}
				}
				for i, kind := range kinds {
					b.ReportMetric(float64(used[i].Microseconds())/float64(rounds), kind.name+"-µs/put")
					b.ReportMetric(float64(used[i])/float64(used[0]), kind.name+"/none")
				}
			})
		}
	}
}

// cpuTime returns the CPU time that the process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkReadAll(b *testing.B) {
	s := opened(b, configOf(b, "TEST_S3"), standard)
	for _, size := range sizes {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			if err := s.Put(b.Context(), "key", objectstore.Content{Data: make([]byte, size), Type: "image/jpeg"}); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := objectstore.ReadAll(b.Context(), s, "key", int64(size)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
