package analyzer_test

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer"
	"github.com/imagebatch/imagebatch/analyzer/internal/fixture"
	"github.com/imagebatch/imagebatch/analyzer/visiontest"
)

// TestCaptionFiles verifies what the command caption prints and sends, and its exit code.
func TestCaptionFiles(t *testing.T) {
	server := visiontest.Start(t, "sk-secret")
	dir := t.TempDir()
	photo, text, prompt, keyFile := filepath.Join(dir, "photo.jpg"), filepath.Join(dir, "text.jpg"), filepath.Join(dir, "prompt"), filepath.Join(dir, "key")
	for file, data := range map[string][]byte{
		photo: fixture.EncodeJPEG(t, fixture.Photo(900, 600), 90), text: []byte("not an image"), keyFile: []byte("sk-secret\n"),
		prompt: []byte("Antworte auf {{.LanguageName}}, höchstens {{.Keywords}} Wörter."),
	} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(files []string, environ ...string) (stdout, stderr string, code int) {
		var out, errOut bytes.Buffer
		code = analyzer.CaptionFiles(t.Context(), files, environ, &out, &errOut)
		if all := out.String() + errOut.String(); strings.Contains(all, "sk-secret") || strings.Contains(all, "/9j/") {
			t.Errorf("the output contains the key or the bytes of the image:\n%s", all)
		}
		return out.String(), errOut.String(), code
	}
	environ := []string{"CAPTION_URL=" + server.URL, "CAPTION_API_KEY_FILE=" + keyFile, "CAPTION_MODEL=llava", "CAPTION_PIXELS=300", "CAPTION_LANGUAGE=de", "CAPTION_PROMPT_FILE=" + prompt}
	out, errOut, code := run([]string{photo, text}, environ...)
	if code != 1 || !strings.Contains(errOut, "text.jpg: ") || strings.Contains(errOut, "photo.jpg") {
		t.Errorf("code %d, errors %q, want 1 and an error about text.jpg only", code, errOut)
	}
	for _, want := range []string{`"model": "llava"`, "Antworte auf German, höchstens 12 Wörter.", "response of status 200: ", `"title": "` + visiontest.Title + `"`, "300 prompt tokens, 60 completion tokens, "} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	requests := server.Requests()
	if len(requests) != 1 {
		t.Fatalf("%d requests, want 1", len(requests))
	}
	if size := jpegSize(t, requests[0].Picture); size != "300×200" {
		t.Errorf("the image that was sent has %s, want 300×200", size)
	}

	server.Play(visiontest.Content("\x1b[2Jno JSON"))
	out, errOut, code = run([]string{photo}, environ...)
	if code != 1 || strings.Contains(out+errOut, "\x1b") || !strings.Contains(out, "no JSON") {
		t.Errorf("code %d, output\n%s%s\nwant 1 and the response without escape sequences", code, out, errOut)
	}
	for _, c := range []struct {
		files   []string
		environ []string
		want    string
	}{
		{nil, environ, "usage: "},
		{[]string{photo}, nil, "CAPTION_URL: "},
		{[]string{photo}, []string{"CAPTION_URL=" + server.URL}, "CAPTION_MODEL: "},
	} {
		if _, errOut, code := run(c.files, c.environ...); code != 2 || !strings.Contains(errOut, c.want) {
			t.Errorf("%q: code %d, errors %q, want 2 and %q", c.environ, code, errOut, c.want)
		}
	}
}

func jpegSize(t *testing.T, data []byte) string {
	t.Helper()
	m, err := jpeg.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d×%d", m.Width, m.Height)
}
