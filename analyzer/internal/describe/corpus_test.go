package describe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// cameraFiles returns the test images of imagemeta, from many cameras and programs, by their paths.
func cameraFiles(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := readCameraFiles()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var readCameraFiles = sync.OnceValues(func() (map[string][]byte, error) {
	out, err := exec.CommandContext(context.Background(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/bep/imagemeta").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	root := filepath.Join(strings.TrimSpace(string(out)), "testdata", "images")
	files := map[string][]byte{}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".jpg" && filepath.Ext(path) != ".png" {
			return err
		}
		data, err := os.ReadFile(path) //nolint:gosec // A file of the module cache.
		name, _ := filepath.Rel(root, path)
		files[name] = data
		return err
	})
	return files, err
})

// cameraRecords returns the records of those of the files that can be described.
func cameraRecords(t testing.TB) map[string]pipeline.Metadata {
	t.Helper()
	cameraFiles(t)
	return describeCameraFiles()
}

var describeCameraFiles = sync.OnceValue(func() map[string]pipeline.Metadata {
	records := map[string]pipeline.Metadata{}
	files, _ := readCameraFiles()
	for name, data := range files {
		if m, _, err := New(Config{}).Describe(context.Background(), data); err == nil {
			records[name] = m
		}
	}
	return records
})

// cameraTags returns the tags of the files that tests compare with, as exiftool reads them.
func cameraTags(t testing.TB) map[string]map[string]any {
	t.Helper()
	if judgedCameraFiles == nil {
		judgedCameraFiles = judge(t, cameraFiles(t), "-G1", "-charset", "iptc=Latin", "-IFD0:all", "-ExifIFD:all", "-IPTC:all", "-XMP-dc:all",
			"-XMP-xmp:Rating", "-ICC_Profile:ProfileDescription", "-Composite:GPSLatitude", "-Composite:GPSLongitude", "-XMP-tiff:all",
			"-XMP-aux:Lens", "-XMP-exifEX:LensModel", "-JPEGQualityEstimate")
	}
	return judgedCameraFiles
}

var judgedCameraFiles map[string]map[string]any

// judge reads tags of all files with exiftool, in one run, because it starts slowly.
func judge(t testing.TB, files map[string][]byte, tags ...string) map[string]map[string]any {
	t.Helper()
	exiftool, err := exec.LookPath("exiftool")
	if err != nil {
		t.Skip("exiftool is not installed (Debian: libimage-exiftool-perl)")
	}
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), exiftool, append([]string{"-json", "-n", "-r", "-q", "-q", "-fast"}, append(tags, dir)...)...) //nolint:gosec // The tool that was looked up.
	out, err := cmd.Output()
	// exiftool exits with 1 if one of the files is damaged, and prints the tags of all others.
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var list []map[string]any
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatalf("exiftool: %v\n%s", err, out)
	}
	judged := map[string]map[string]any{}
	for _, f := range list {
		name, err := filepath.Rel(dir, f["SourceFile"].(string))
		if err != nil {
			t.Fatal(err)
		}
		judged[name] = f
	}
	return judged
}
