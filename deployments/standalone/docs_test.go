package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// The document's examples use these values; the tests replace them.
const (
	docsHost  = "localhost:8080"
	docsJobID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
	docsSite  = "https://example.com"
)

// example is one fenced block of a document.
type example struct{ section, language, text string }

// examples returns the fenced blocks of a document, each with the heading above it.
func examples(t *testing.T, file string) []example {
	t.Helper()
	var list []example
	section, inside := "", false
	for line := range strings.Lines(string(readFile(t, file))) {
		switch {
		case strings.HasPrefix(line, "```") && !inside:
			inside = true
			list = append(list, example{section: section, language: strings.TrimSpace(strings.TrimPrefix(line, "```"))})
		case strings.HasPrefix(line, "```"):
			inside = false
		case inside:
			list[len(list)-1].text += line
		case strings.HasPrefix(line, "#"):
			section = strings.TrimSpace(strings.TrimLeft(line, "#"))
		}
	}
	return list
}

// pick returns the block of that language under the heading that starts with section.
func pick(t *testing.T, list []example, section, language string) string {
	t.Helper()
	for _, e := range list {
		if strings.HasPrefix(e.section, section) && e.language == language {
			return e.text
		}
	}
	t.Fatalf("no %s block under %q", language, section)
	return ""
}

// docsSystem starts a system and a site with the photos of the examples.
func docsSystem(t *testing.T) (s *system, adapt func(text, jobID string) string) {
	t.Helper()
	s = forms["standalone"](t)
	s.described(t)
	files := map[string][]byte{}
	for _, name := range []string{"photo1.jpg", "photo2.jpg", "photo3.jpg", "image1.jpg", "image2.jpg", "image3.jpg"} {
		files[name] = photo(t)
	}
	site := origin(t, files)
	return s, func(text, jobID string) string {
		return strings.NewReplacer(docsHost, s.addr, docsJobID, jobID, docsSite, site).Replace(text)
	}
}

// execute runs a program with the text on its standard input and returns its output.
func execute(t *testing.T, text string, program ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program[0], program[1:]...) //nolint:gosec // The interpreters of the examples.
	cmd.Stdin = strings.NewReader(text)
	cmd.Dir = t.TempDir()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%s: %v\n%s\n%s", program[0], err, out, stderr.Bytes())
	}
	return string(out)
}

// need skips the test if a program or module of the examples is missing.
func need(t *testing.T, program ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), program[0], program[1:]...).CombinedOutput(); err != nil { //nolint:gosec // It prints a version.
		t.Skipf("%s: %v %s", strings.Join(program, " "), err, out)
	}
}

// TestDocsCurlExamples runs the document's curl examples unchanged.
func TestDocsCurlExamples(t *testing.T) {
	t.Parallel()
	need(t, "curl", "--version")
	blocks := examples(t, "../../docs/batch-api.md")
	s, adapt := docsSystem(t)

	var created jobResponse
	decode(t, execute(t, adapt(pick(t, blocks, "Example 1", "bash"), ""), "bash"), &created)
	var documented jobResponse
	decode(t, pick(t, blocks, "Example 1", "json"), &documented)
	if created.Status != documented.Status || created.Message != documented.Message || created.JobID == "" {
		t.Errorf("created %+v, documented %+v", created, documented)
	}
	got := s.ended(t, created.JobID)
	for i, name := range []string{"vacation-photo-1.jpg", "vacation-photo-2.jpg", "vacation-photo-3.jpg"} {
		if img := got.Images[i]; img.Status != "completed" || img.OriginalFilename != name || img.ProcessedPath != img.TraceID+"/"+name {
			t.Errorf("image %d: %+v", i, img)
		}
	}

	// The data in the second example is abbreviated with dots: the batch is accepted, and
	// each image fails.
	decode(t, execute(t, adapt(pick(t, blocks, "Example 2", "bash"), ""), "bash"), &created)
	for _, img := range s.ended(t, created.JobID).Images {
		if img.Status != "failed" || img.ErrorCode != "invalid_base64" {
			t.Errorf("image %+v", img)
		}
	}

	var status jobResponse
	decode(t, execute(t, adapt(pick(t, blocks, "Example 3", "bash"), got.JobID), "bash"), &status)
	if status.JobID != got.JobID || status.Status != "completed" || len(status.Images) != 3 {
		t.Errorf("status %+v", status)
	}
}

func decode(t *testing.T, text string, out any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), out); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

// TestDocsWebSocketExamples runs the document's WebSocket clients, on a running job and on
// an ended one.
func TestDocsWebSocketExamples(t *testing.T) {
	t.Parallel()
	python := debianPython(t, "websockets")
	need(t, "node", "--version")
	blocks := examples(t, "../../docs/batch-api.md")
	s, adapt := docsSystem(t)
	site := adapt(docsSite, "")
	for name, program := range map[string][]string{
		"JavaScript": {"node", "--experimental-websocket", "--input-type=commonjs", "-"},
		"Python":     {python, "-"},
	} {
		t.Run(name, func(t *testing.T) {
			section, language := "Example 4", "javascript"
			if name == "Python" {
				section, language = "Example 5", "python"
			}
			id := s.submit(t, map[string]string{"url": site + "/photo1.jpg"}, map[string]string{"url": site + "/gone.jpg"})
			for range 2 { // while the job runs, and after it has ended
				out := execute(t, adapt(pick(t, blocks, section, language), id), program...)
				for _, want := range []string{"WebSocket connected", "Progress: 100.00%", "Completed: 1/2", "Image photo1.jpg completed", "Batch job completed!"} {
					if !strings.Contains(out, want) {
						t.Errorf("%q is missing in:\n%s", want, out)
					}
				}
				if name == "Python" && !strings.Contains(out, "Error: Failed to download image: status code 404") {
					t.Errorf("the error of the second image is missing in:\n%s", out)
				}
				s.ended(t, id)
			}
		})
	}
}

// TestDocsWorkflowExample runs the document's polling client.
func TestDocsWorkflowExample(t *testing.T) {
	t.Parallel()
	python := debianPython(t, "requests")
	blocks := examples(t, "../../docs/batch-api.md")
	_, adapt := docsSystem(t)
	out := execute(t, adapt(pick(t, blocks, "Example 6", "python"), ""), python, "-")
	for _, want := range []string{"Created batch job: ", "Status: completed", "Progress: 100.00%", "- image1.jpg: completed", "- image3.jpg: completed", "  Processed path: "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
}

// debianPython returns a Python that has the module: Debian's own, even if another one is
// first in PATH.
func debianPython(t *testing.T, module string) string {
	t.Helper()
	const python = "/usr/bin/python3"
	need(t, python, "-c", "import "+module)
	return python
}

// TestReadme runs the transcript of the README.
func TestReadme(t *testing.T) {
	t.Parallel()
	s := forms["standalone"](t)
	s.described(t)
	dir := t.TempDir()
	if err := os.CopyFS(dir+"/docs", os.DirFS("../../docs")); err != nil {
		t.Fatal(err)
	}
	if n := s.follow(t, dir, pick(t, examples(t, "../../README.md"), "Try it", "console"), nil); n < 5 {
		t.Fatalf("the transcript has only %d commands", n)
	}
	if file := readFile(t, dir+"/processed.jpg"); !bytes.Contains(file, []byte("https://github.com/imagebatch/imagebatch/ns/1.0/")) {
		t.Error("the processed file lacks our metadata")
	}
}

// follow runs a transcript line by line in one shell and compares its output with the
// transcript. An … matches any text, and a time matches any time. It returns the number of
// commands.
func (s *system) follow(t *testing.T, dir, transcript string, adapt func(string) string) int {
	t.Helper()
	need(t, "curl", "--version")
	script := ""
	commands := regexp.MustCompile(`(?m)^\$ (.*)\n((?:[^$\n].*\n|\n)*)`).FindAllStringSubmatch(transcript, -1)
	for _, c := range commands {
		command, want := strings.ReplaceAll(c[1], docsHost, s.addr), strings.TrimSpace(c[2])
		if adapt != nil {
			command = adapt(command)
		}
		if strings.Contains(command, "$job/images") || strings.Contains(command, "$job/similar") || strings.HasSuffix(command, "/$job") {
			// A person types more slowly than an image is processed.
			var list struct{ Jobs []jobResponse }
			s.call(t, http.MethodGet, "/api/v1/batch", nil, &list)
			s.ended(t, list.Jobs[0].JobID)
		}
		assignment := regexp.MustCompile(`^(\w+)=`).FindStringSubmatch(command)
		if assignment != nil {
			command += `; printf %s "$` + assignment[1] + `"`
		}
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script+command) //nolint:gosec // The document is ours.
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s\n%v\n%s", command, err, out)
		}
		if assignment != nil {
			// Later commands get the value: the command may create a job.
			script += assignment[1] + "='" + strings.ReplaceAll(string(out), "'", `'\''`) + "'\n"
			out = nil
		}
		pattern := "(?s)^" + regexp.MustCompile("[0-9a-f-]*…").ReplaceAllString(regexp.QuoteMeta(want), ".*") + "$"
		pattern = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`).ReplaceAllLiteralString(pattern, `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
		if !regexp.MustCompile(pattern).MatchString(strings.TrimSpace(string(out))) {
			t.Errorf("$ %s\nprints\n%s\nwant, from the document,\n%s", c[1], out, want)
		}
	}
	return len(commands)
}
