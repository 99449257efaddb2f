package api_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// entries returns the content of a ZIP by name, and the names in their order.
func entries(t *testing.T, data []byte) (map[string]string, []string) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatalf("%v in %d bytes", err, len(data))
	}
	all, names := map[string]string{}, []string{}
	for _, f := range z.File {
		if f.Method != zip.Store || f.Flags&0x8 != 0 {
			t.Errorf("%q has the method %d and the flags %#x, want it stored and without a data descriptor", f.Name, f.Method, f.Flags)
		}
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Errorf("%q: %v", f.Name, err)
		}
		all[f.Name], names = string(content), append(names, f.Name)
	}
	return all, names
}

// storeImages creates a completed job whose images have the names, without their objects.
func (r *rig) storeImages(originalSize int64, names ...string) (id string) {
	r.Helper()
	id = unknown
	images := make([]job.Image, len(names))
	for i, name := range names {
		images[i] = job.Image{OriginalFilename: name, Original: job.Original{Path: fmt.Sprintf("%d/x", i), ContentType: "image/jpeg", Size: originalSize, SHA256: "0"}}
	}
	at := time.Now()
	r.must(r.jobs.Create(r.Context(), job.New(id, images, at)))
	for i, name := range names {
		e := pipeline.NewEnvelope(id, i, at)
		_, _, err := r.jobs.Change(r.Context(), job.Ref{JobID: id, Index: i}, job.Settle(pipeline.Ended(e, string(e.TraceID)+"/"+name, at), at), at)
		r.must(err)
	}
	return id
}

func zipPath(id string) string { return "/api/v1/batch/" + id + "/results.zip" }

func TestArchive(t *testing.T) {
	r := setup(t, options{now: tomorrow})
	id := r.outcomes()
	got := r.get(zipPath(id))
	all, names := entries(t, got.body)
	if want := []string{"image1.png", "image1.png.json", "image3.png", "manifest.jsonl"}; got.status != 200 || !slices.Equal(names, want) {
		t.Errorf("got %d %q, want %q", got.status, names, want)
	}
	if all["image1.png"] != "the image" || !strings.Contains(all["image1.png.json"], `"format": "png"`) {
		t.Errorf("got %q", all)
	}
	const manifest = `{"index":0,"original_filename":"image1.png","status":"completed","files":{"file":"image1.png","metadata":"image1.png.json"}}
{"index":1,"original_filename":"image2.png","status":"failed","error":"Damaged image","error_code":"damaged_image"}
{"index":2,"original_filename":"image3.png","status":"completed","files":{"file":"image3.png"},"missing":{"metadata":"No result: that of images[2] is no longer kept"}}
`
	if all["manifest.jsonl"] != manifest {
		t.Errorf("the manifest is\n%swant\n%s", all["manifest.jsonl"], manifest)
	}
	head := r.do("HEAD", zipPath(id), nil)
	for name, value := range map[string]string{
		"Content-Type": "application/zip", "X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache",
		"Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
		"Content-Disposition":     `attachment; filename="` + id + `.zip"; filename*=UTF-8''` + id + `.zip`,
	} {
		if got.header.Get(name) != value || head.header.Get(name) != value {
			t.Errorf("got %s %q, and %q for HEAD, want %q", name, got.header.Get(name), head.header.Get(name), value)
		}
	}
	if head.status != 200 || len(head.body) > 0 {
		t.Errorf("HEAD: got %d %q", head.status, head.body)
	}
	if again := r.get(zipPath(id)); !bytes.Equal(again.body, got.body) {
		t.Error("a second download has other bytes")
	}
}

func TestArchiveInclude(t *testing.T) {
	r := setup(t, options{})
	id := r.create(1)
	wantError(t, r.get(zipPath(id)), 409, "Job has not ended: processing")
	if head := r.do("HEAD", zipPath(id), nil); head.status != 409 {
		t.Errorf("HEAD: got %d", head.status)
	}
	r.end(id, 0, nil)
	for query, want := range map[string][]string{
		"":                       {"image1.png", "image1.png.json"},
		"?include=":              {"image1.png", "image1.png.json"},
		"?include=file&other=x":  {"image1.png"},
		"?include=metadata":      {"image1.png.json"},
		"?include=thumbnail,xmp": {"image1.png.xmp", "image1.png.thumb.jpg"},
		"?include=thumbnail,xmp,metadata,file,file": {"image1.png", "image1.png.json", "image1.png.xmp", "image1.png.thumb.jpg"},
		"?include=file&include=xmp":                 {"image1.png", "image1.png.xmp"},
	} {
		_, names := entries(t, r.get(zipPath(id)+query).body)
		if want = append(want, "manifest.jsonl"); !slices.Equal(names, want) {
			t.Errorf("%s: got %q, want %q", query, names, want)
		}
	}
	for _, query := range []string{"original", "file,", ",", "FILE", "file;xmp", "file,%20xmp", "../file"} {
		if got := r.get(zipPath(id) + "?include=" + strings.ReplaceAll(query, ";", "%3B")); got.status != 400 {
			t.Errorf("include=%s: got %d", query, got.status)
		}
	}
	wantError(t, r.get(zipPath(id)+"?include=all"), 400, "include must be a list of file, metadata, xmp and thumbnail")
	wantError(t, r.get(zipPath(id)+"?paths=index"), 400, "paths must be custom_id")

	r.must(r.processed.Delete(t.Context(), pipeline.SidecarKey(pipeline.ProcessedKey(pipeline.NewTraceID(id, 0), "x/image1.png"))))
	all, _ := entries(t, r.get(zipPath(id)+"?include=xmp").body)
	const want = `{"index":0,"original_filename":"image1.png","status":"completed","missing":{"xmp":"No result: images[0] has no sidecar"}}` + "\n"
	if all["manifest.jsonl"] != want {
		t.Errorf("without a sidecar: got %s", all["manifest.jsonl"])
	}
	failed := r.create(1)
	r.end(failed, 0, errDamaged)
	if _, names := entries(t, r.get(zipPath(failed)).body); !slices.Equal(names, []string{"manifest.jsonl"}) {
		t.Errorf("the failed job: got %q", names)
	}
}

// TestArchiveNames downloads images with the same name, and with names that are dangerous
// on some system.
func TestArchiveNames(t *testing.T) {
	r := setup(t, options{})
	get := storeGet(func(_ context.Context, key string) (*objectstore.Object, error) {
		return &objectstore.Object{Info: objectstore.Info{Key: key, Size: int64(len(key))}, Body: io.NopCloser(strings.NewReader(key))}, nil
	})
	r.processed.get.Store(&get)
	id := r.storeImages(1, "a.jpg", "a.jpg", "A.JPG", "фото 😀.jpg", "..", "c:\\x.jpg", "nul.jpg", "x\ny.jpg", "a.jpg.json", ".hidden.jpg")
	all, names := entries(t, r.get(zipPath(id)+"?include=file").body)
	want := []string{"a.jpg", "a (2).jpg", "A (3).JPG", "фото _.jpg", "_.", "c__x.jpg", "_nul.jpg", "x_y.jpg", "a.jpg (2).json", "_hidden.jpg", "manifest.jsonl"}
	if !slices.Equal(names, want) {
		t.Errorf("got  %q\nwant %q", names, want)
	}
	if second := string(pipeline.NewTraceID(id, 1)) + "/a.jpg"; all["a (2).jpg"] != second {
		t.Errorf("the second image is %q, want %q", all["a (2).jpg"], second)
	}
	if _, other := entries(t, r.get(zipPath(id)+"?include=thumbnail").body); other[1] != "a (2).jpg.thumb.jpg" {
		t.Errorf("without the files: got %q", other)
	}
}

// TestInterruptedArchive verifies that an archive whose store fails is either a 503 or
// visibly broken.
func TestInterruptedArchive(t *testing.T) {
	r := setup(t, options{})
	id := r.create(3)
	for i := range 3 {
		r.end(id, i, nil)
		r.replaceFile(id, i, bytes.Repeat([]byte("x"), 100_000))
	}
	fix := breakWith(&r.processed.fault, objectstore.ErrUnavailable)
	wantError(t, r.get(zipPath(id)), 503, "Service temporarily unavailable, try again later")
	fix()
	for n := 2; n <= 6; n++ {
		r.failFrom(n)
		data := wantInterrupted(t, r, zipPath(id))
		if len(data) == 0 || len(data) > 400_000 || binary.LittleEndian.Uint32(data) != 0x04034b50 {
			t.Errorf("the store failed at the %d. object: got %d bytes", n, len(data))
		}
		if _, err := zip.NewReader(bytes.NewReader(data), int64(len(data))); err == nil {
			t.Errorf("the store failed at the %d. object: what arrived is a complete archive", n)
		}
	}
	r.processed.get.Store(nil)
	r.processed.short.Store(true)
	wantError(t, r.get(zipPath(id)), 503, "Service temporarily unavailable, try again later")
	if n := r.api.ArchiveMemory(""); n != 0 {
		t.Errorf("after all downloads, %d bytes are in use", n)
	}
}
