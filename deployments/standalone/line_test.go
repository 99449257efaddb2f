package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/jpeg"
	_ "image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// photo returns a real photo with EXIF, XMP, IPTC and an ICC profile.
func photo(t *testing.T) []byte {
	t.Helper()
	return readFile(t, "../../docs/sunrise.jpg")
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// goImage returns a test image of the Go distribution.
func goImage(t *testing.T, name string) []byte {
	t.Helper()
	return readFile(t, filepath.Join(runtime.GOROOT(), "src", "image", "testdata", name)) //nolint:staticcheck // The tests run where they were built.
}

func inline(name string, data []byte) map[string]string {
	return map[string]string{"name": name, "base64": "data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(data)}
}

// origin serves files like a site on the internet.
func origin(t *testing.T, files map[string][]byte) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := files[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data) // The client may be gone.
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestLine sends one batch with every kind of image through the whole pipeline, in both
// forms of the system, and checks every result.
func TestLine(t *testing.T) {
	exiftool, err := exec.LookPath("exiftool")
	if err != nil {
		t.Skip("exiftool is not installed")
	}
	eachForm(t, func(t *testing.T, start func(t *testing.T, env ...string) *system) {
		s := start(t)
		site := origin(t, map[string][]byte{"a/My%20photo.jpg": nil, "a/My photo.jpg": photo(t), "page.html": []byte("<html>")})
		png, gray := goImage(t, "video-001.png"), goImage(t, "video-005.gray.jpeg")
		id := s.submit(t,
			inline("sunrise.jpg", photo(t)),
			inline("../../päper/видео.png", png),
			map[string]string{"url": site + "/a/My%20photo.jpg"},
			map[string]string{"url": site + "/missing.jpg", "name": "missing.jpg"},
			map[string]string{"base64": "data:image/jpeg;base64,/9j/4AAQ*", "name": "bad.jpg"},
			inline("moving.gif", goImage(t, "video-001.gif")),
			inline("cut.jpg", photo(t)[:50_000]),
			inline("", gray),
			map[string]string{"url": site + "/page.html"},
		)
		frames := make(chan []frame, 1)
		go func() { frames <- watch(t, s, id) }()
		got := s.ended(t, id)

		want := []struct{ name, status, text, code string }{
			{"sunrise.jpg", "completed", "", ""},
			{"../../päper/видео.png", "completed", "", ""},
			{"My photo.jpg", "completed", "", ""},
			{"missing.jpg", "failed", "Failed to download image: status code 404", "download_failed"},
			{"bad.jpg", "failed", "Invalid base64 data", "invalid_base64"},
			{"moving.gif", "failed", "", "unsupported_format"},
			{"cut.jpg", "failed", "", "damaged_image"},
			{"image-8", "completed", "", ""},
			{"page.html", "failed", "", "not_an_image"},
		}
		for i, w := range want {
			img := got.Images[i]
			if img.OriginalFilename != w.name || img.Status != w.status || img.ErrorCode != w.code || w.text != "" && img.Error != w.text {
				t.Errorf("image %d: %+v, want %+v", i, img, w)
			}
			if strings.Contains(img.Error, "127.0.0.1") || strings.Contains(img.Error, site) {
				t.Errorf("the error contains an address: %s", img.Error)
			}
		}
		if got.Status != "completed" || got.Completed != 4 || got.Failed != 5 || got.Progress != 100 {
			t.Errorf("job %+v", got)
		}
		checkFrames(t, <-frames, got)

		originals := map[int][]byte{0: photo(t), 1: png, 2: photo(t), 7: gray}
		for i, original := range originals {
			s.checkResult(t, exiftool, got, i, original)
		}
		s.checkAllResults(t, got, originals)
		for _, part := range []string{"file", "thumbnail", "metadata"} {
			var body struct {
				Error  string `json:"error"`
				Status int    `json:"status"`
			}
			if status, _ := s.call(t, http.MethodGet, "/api/v1/batch/"+id+"/images/3/"+part, nil, &body); status != 404 || body.Status != 404 || body.Error == "" {
				t.Errorf("%s of a failed image: %d %+v", part, status, body)
			}
		}
	})
}

// checkResult checks the stored outputs of one image.
func (s *system) checkResult(t *testing.T, exiftool string, a jobResponse, i int, original []byte) {
	t.Helper()
	img := a.Images[i]
	at := "/api/v1/batch/" + a.JobID + "/images/" + string(rune('0'+i))
	var file, thumbnail []byte
	var record map[string]any
	status, header := s.call(t, http.MethodGet, at+"/file", nil, &file)
	if status != 200 || header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Content-Security-Policy") != "default-src 'none'; sandbox; frame-ancestors 'none'" ||
		!strings.HasPrefix(header.Get("Content-Disposition"), "attachment") || !strings.HasPrefix(header.Get("Content-Type"), "image/") {
		t.Errorf("file of image %d: %d %v", i, status, header)
	}
	if status, _ := s.call(t, http.MethodGet, at+"/metadata", nil, &record); status != 200 {
		t.Errorf("record of image %d: %d", i, status)
	}
	if status, _ := s.call(t, http.MethodGet, at+"/thumbnail", nil, &thumbnail); status != 200 {
		t.Errorf("thumbnail of image %d: %d", i, status)
	}
	if !strings.HasPrefix(img.ProcessedPath, img.TraceID+"/") || strings.Count(img.ProcessedPath, "/") != 1 || path.Clean(img.ProcessedPath) != img.ProcessedPath {
		t.Errorf("processed path %q", img.ProcessedPath)
	}
	before, format, err := image.Decode(bytes.NewReader(original))
	if err != nil {
		t.Fatal(err)
	}
	after, formatAfter, err := image.Decode(bytes.NewReader(file))
	if err != nil || format != formatAfter || !reflect.DeepEqual(before, after) {
		t.Errorf("the pixels of image %d have changed: %v", i, err)
	}
	small, err := jpeg.DecodeConfig(bytes.NewReader(thumbnail))
	if err != nil || max(small.Width, small.Height) != min(320, max(before.Bounds().Dx(), before.Bounds().Dy())) {
		t.Errorf("thumbnail of image %d: %+v, %v", i, small, err)
	}
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), exiftool, "-j", "-XMP:all", name).Output() //nolint:gosec // The file is ours.
	if err != nil {
		t.Fatal(err)
	}
	var tags []map[string]any
	if err := json.Unmarshal(out, &tags); err != nil {
		t.Fatal(err)
	}
	if sum, _ := tags[0]["OriginalSHA256"].(string); sum == "" || sum != record["sha256"] {
		t.Errorf("image %d: exiftool reads SHA-256 %q, the record says %v", i, sum, record["sha256"])
	}
}

// frame is a WebSocket message.
type frame struct {
	Type      string        `json:"type"`
	JobID     string        `json:"job_id"`
	Status    string        `json:"status"`
	Progress  float64       `json:"progress"`
	Completed int           `json:"completed"`
	Failed    int           `json:"failed"`
	Total     int           `json:"total_images"`
	Image     imageResponse `json:"image"`
	Timestamp string        `json:"timestamp"`
}

// watch returns the frames of a job until the server closes the connection, which it must
// do with code 1000.
func watch(t *testing.T, s *system, id string) (frames []frame) {
	for _, text := range frameTexts(t, s, id) {
		var f frame
		if err := json.Unmarshal(text, &f); err != nil {
			t.Errorf("frame %s: %v", text, err)
		}
		frames = append(frames, f)
	}
	return frames
}

// frameTexts is like watch, without decoding the frames.
func frameTexts(t *testing.T, s *system, id string) (frames [][]byte) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, resp, err := websocket.Dial(ctx, strings.Replace(s.url("/api/v1/batch/"+id+"/ws"), "http", "ws", 1), nil)
	if err != nil {
		t.Errorf("watch: %v", err)
		return nil
	}
	if resp.Body != nil {
		defer resp.Body.Close()
	}
	defer c.CloseNow() //nolint:errcheck // Only if it is not closed yet.
	for {
		kind, text, err := c.Read(ctx)
		if websocket.CloseStatus(err) == websocket.StatusNormalClosure {
			return frames
		}
		if err != nil {
			t.Errorf("watch: %v", err)
			return frames
		}
		if kind != websocket.MessageText {
			t.Errorf("frame %s is not text", text)
		}
		frames = append(frames, text)
	}
}

// checkFrames compares the frames of a watcher with the final state of the job.
func checkFrames(t *testing.T, frames []frame, end jobResponse) {
	t.Helper()
	if len(frames) < 2 || frames[0].Type != "progress" || frames[len(frames)-1].Type != "job_complete" {
		t.Fatalf("frames %+v", frames)
	}
	seen := make([]int, len(end.Images))
	var last frame
	for i, f := range frames {
		if f.JobID != end.JobID || f.Total != end.TotalImages || f.Completed < last.Completed || f.Failed < last.Failed || f.Progress < last.Progress || f.Timestamp == "" {
			t.Errorf("frame %d: state changed from %+v to %+v", i, last, f)
		}
		switch f.Type {
		case "image_complete":
			seen[f.Image.Index]++
			now := end.Images[f.Image.Index]
			if f.Image.Status != now.Status || f.Image.ProcessedPath != now.ProcessedPath || f.Image.Error != now.Error || f.Image.TraceID != now.TraceID || f.Image.OriginalFilename != now.OriginalFilename {
				t.Errorf("image_complete has %+v, the job has %+v", f.Image, now)
			}
		case "job_complete":
			if i != len(frames)-1 {
				t.Errorf("job_complete is frame %d of %d", i, len(frames))
			}
		}
		last = f
	}
	if slices.ContainsFunc(seen, func(n int) bool { return n != 1 }) {
		t.Errorf("image_complete events by index: %v, want one each", seen)
	}
	if last.Status != end.Status || last.Completed != end.Completed || last.Failed != end.Failed || last.Progress != 100 {
		t.Errorf("last frame %+v, job %+v", last, end)
	}
}

// TestSizeLimit sends real photos padded to exactly the limit and to one byte more, inline
// and by URL.
func TestSizeLimit(t *testing.T) {
	eachForm(t, func(t *testing.T, start func(t *testing.T, env ...string) *system) {
		s := start(t)
		fits := append(photo(t), make([]byte, 10_485_760-len(photo(t)))...)
		over := append(slices.Clone(fits), 0)
		site := origin(t, map[string][]byte{"fits.jpg": fits, "over.jpg": over})
		got := s.ended(t, s.submit(t,
			inline("fits.jpg", fits), inline("over.jpg", over),
			map[string]string{"url": site + "/fits.jpg"}, map[string]string{"url": site + "/over.jpg"},
		))
		for i, status := range []string{"completed", "failed", "completed", "failed"} {
			img := got.Images[i]
			if img.Status != status || status == "failed" && (img.ErrorCode != "too_large" || img.Error != "Image exceeds the maximum size of 10 MB") {
				t.Errorf("image %d: %+v, want %s", i, img, status)
			}
		}
	})
}

// TestManyWatchers watches one batch of 60 images with many early watchers and a late one.
func TestManyWatchers(t *testing.T) {
	eachForm(t, func(t *testing.T, start func(t *testing.T, env ...string) *system) {
		s := start(t)
		var batch []map[string]string
		for range 60 {
			batch = append(batch, inline("small.jpg", goImage(t, "video-001.jpeg")))
		}
		id := s.submit(t, batch...)
		seen := make(chan []frame)
		for range 25 {
			go func() { seen <- watch(t, s, id) }()
		}
		end := s.ended(t, id)
		for range 25 {
			checkFrames(t, <-seen, end)
		}
		checkFrames(t, watch(t, s, id), end)
	})
}

// TestTwoInOneProcess verifies that a system has no global state.
func TestTwoInOneProcess(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	var both []*system
	for range 2 {
		s, err := newStandalone(t.Context(), []string{"HTTP_ADDR=127.0.0.1:0", "DATA_DIR=" + t.TempDir(), "LOG_LEVEL=error"}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		go func() { ended <- s.Run(ctx) }()
		both = append(both, &system{process: &process{t: t, addr: s.Addr().String()}})
	}
	for i, s := range both {
		id := s.submit(t, inline("a.jpg", photo(t)))
		if got := s.ended(t, id); got.Completed != 1 {
			t.Errorf("job %+v", got)
		}
		if status, _ := both[1-i].call(t, http.MethodGet, "/api/v1/batch/"+id, nil, nil); status != http.StatusNotFound {
			t.Errorf("the other system also has the job: %d", status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	stop()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// TestTwoProcessesOnOneFolder verifies that the second process reports why it does not
// start, and does not delete files of the first.
func TestTwoProcessesOnOneFolder(t *testing.T) {
	dir := t.TempDir()
	environ := []string{"HTTP_ADDR=127.0.0.1:0", "DATA_DIR=" + dir, "LOG_LEVEL=error"}
	first, err := newStandalone(t.Context(), environ, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- first.Run(ctx) }()
	written := filepath.Join(dir, "original", "incoming", "half")
	if err := os.WriteFile(written, []byte("half an image"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = newStandalone(t.Context(), environ, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "in use by another gateway: end that one") {
		t.Errorf("start of the second process: got %v, want that the folder is in use", err)
	}
	if _, err := os.Stat(written); err != nil {
		t.Errorf("the second process deleted a file of the first: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	again, err := newStandalone(t.Context(), environ, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(written); err == nil {
		t.Error("the incomplete file of a killed process was not deleted")
	}
	ctx, stop = context.WithCancel(t.Context())
	stop()
	if err := again.Run(ctx); err != nil {
		t.Error(err)
	}
}
