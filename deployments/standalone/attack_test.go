package main

import (
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/imagefile/imagetest"
)

// TestAttackWhole sends bombs through a whole standalone. It verifies that each one ends
// with the error code that it names, that the images behind the bombs complete, and that
// those images, which have hostile names, are stored and served as plain files.
//
// Without PROVE=1 it sends only bombs that reach the analyzer, and of these only files
// under 64 KiB with at most a megapixel. All bombs together are 193 MiB.
func TestAttackWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := &system{process: launch(t, "standalone", "DATA_DIR="+filepath.Join(dir, "data"))}
	bombs := slices.DeleteFunc(imagetest.All(), func(b imagetest.Bomb) bool {
		h, err := imagefile.Read(b.Data, imagefile.Limits{})
		return os.Getenv("PROVE") == "" && (err != nil || len(b.Data) >= 64<<10 || h.Width*h.Height > 1<<20)
	})
	honest := imagetest.JPEG(64, 48)
	var good []map[string]string
	for _, name := range []string{
		"../../../etc/passwd", `..\..\..\windows\win.ini`, "..%2f..%2fa.jpg", "a\x00b/../c.jpg", "a\r\nSet-Cookie: a=b.jpg", "\u202egpj.exe", "$(id).jpg",
		`a"; filename="b.exe`, "<img src=x onerror=alert(1)>.jpg", "a.jpg::$DATA", ".htaccess", strings.Repeat("é", 512), strings.Repeat("../", 300) + "a",
	} {
		good = append(good, inline(name, honest))
	}
	for some := range slices.Chunk(bombs, 20) {
		var batch []map[string]string
		for _, b := range some {
			batch = append(batch, inline(b.Name, b.Data))
		}
		job := s.ended(t, s.submit(t, append(batch, good...)...))
		for i, b := range some {
			status := "completed"
			if b.Want != "" {
				status = "failed"
			}
			if got := job.Images[i]; got.Status != status || got.ErrorCode != b.Want {
				t.Errorf("%s: got %+v, want status %s, error code %q", b.Name, got, status, b.Want)
			}
		}
		for _, img := range job.Images[len(some):] {
			status, header := s.call(t, http.MethodGet, fmt.Sprintf("/api/v1/batch/%s/images/%d/file", job.JobID, img.Index), nil, nil)
			if img.Status != "completed" || path.Dir(img.ProcessedPath) != img.TraceID || path.Clean(img.ProcessedPath) != img.ProcessedPath ||
				status != http.StatusOK || header.Get("Set-Cookie") != "" || !strings.HasPrefix(header.Get("Content-Disposition"), "attachment") {
				t.Errorf("image after the bombs: %+v, served as %d with %v", img, status, header)
			}
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the folder contains more than the data: %v, %v", entries, err)
	}
}
