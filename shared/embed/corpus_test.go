package embed

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/imagefile"
)

var binaryBigEndian = binary.BigEndian

// goRoot is the folder of Go's own source, whose test images we read.
func goRoot(t testing.TB) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatalf("go env: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "src")
}

func goTestdata(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goRoot(t), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// corpus collects the JPEG and PNG files of folders, including unusual and broken ones.
func corpus(t testing.TB, folders ...string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			switch strings.ToLower(filepath.Ext(path)) {
			case ".jpg", ".jpeg", ".png":
			default:
				return nil
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if bytes.HasPrefix(data, []byte(jpegStart)) || bytes.HasPrefix(data, []byte(pngStart)) {
				inside, err := filepath.Rel(folder, path)
				if err != nil {
					return err
				}
				files[strings.ReplaceAll(filepath.ToSlash(inside), "/", "_")] = data
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// inspect checks a whole corpus: the tags with exiftool, the pixels with the decoder.
func inspect(t *testing.T, files map[string][]byte, atLeast int) {
	t.Helper()
	if len(files) < atLeast {
		t.Fatalf("only %d files found", len(files))
	}
	outcomes := map[string]int{}
	for name, f := range writeAndCompare(t, files) {
		outcomes[string(f.XMP)+" "+fmt.Sprint(f.Warnings)]++
		// Some packets are deliberately malformed.
		if checkPixels(t, files[name], f.Data) && f.XMP == None && first(f.Warnings) != PacketMalformed {
			t.Errorf("%s: nothing was written into a valid file: %s", name, f.Warnings)
		}
	}
	for outcome, n := range outcomes {
		t.Logf("%4d %s", n, outcome)
	}
}

func TestGoTestImages(t *testing.T) {
	root := goRoot(t)
	inspect(t, corpus(t, filepath.Join(root, "image", "testdata"), filepath.Join(root, "image", "png", "testdata")), 60)
}

// TestPhotos reads photos of many cameras and programs from the test data of the analyzer's EXIF reader,
// if that module has been downloaded.
func TestPhotos(t *testing.T) { inspect(t, photos(t), 80) }

func photos(t *testing.T) map[string][]byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/bep/imagemeta")
	_, here, _, _ := runtime.Caller(0)
	cmd.Dir = filepath.Join(filepath.Dir(here), "..", "..", "analyzer")
	out, err := cmd.Output()
	folder := strings.TrimSpace(string(out))
	if err != nil || folder == "" {
		t.Skip("the module github.com/bep/imagemeta is not available")
	}
	files := corpus(t, filepath.Join(folder, "testdata"))
	for name, data := range files {
		if whole, ok := withScan(t, data); ok {
			files["scan_"+name] = whole
		}
	}
	return files
}

// withScan appends an image to the header of a photo that was cut off, as many camera samples are.
func withScan(t *testing.T, data []byte) ([]byte, bool) {
	t.Helper()
	if _, err := imagefile.LayoutOf(data); err == nil || !bytes.HasPrefix(data, []byte(jpegStart)) {
		return nil, false
	}
	end := len(jpegStart)
	for len(data)-end >= 4 && data[end] == 0xff && data[end+1] >= markerAPP0 && data[end+1] < markerAPP0+16 {
		next := end + 2 + int(binary.BigEndian.Uint16(data[end+2:]))
		if next > len(data) {
			break
		}
		end = next
	}
	return append(bytes.Clone(data[:end]), plainJPEG(t)[len(jpegStart):]...), end > len(jpegStart)
}

// TestMorePhotos reads the folders in TEST_PHOTOGRAPHS, if it is set: for example t/images in the source
// package of exiftool, with files of 40 cameras.
func TestMorePhotos(t *testing.T) {
	folders := filepath.SplitList(os.Getenv("TEST_PHOTOGRAPHS"))
	if len(folders) == 0 {
		t.Log("TEST_PHOTOGRAPHS is not set")
		return
	}
	files := corpus(t, folders...)
	inspect(t, files, 1)
	placeless(t, files, 0)
}
