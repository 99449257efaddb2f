package api_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// TestSpellingsOfTheLargestImage verifies that an image of exactly the maximum size is
// accepted alone in a batch of one, however a client writes it. With TEST_FULL_SIZE that is
// 10 MiB, otherwise a tenth.
func TestSpellingsOfTheLargestImage(t *testing.T) {
	most := 1 << 20
	if os.Getenv("TEST_FULL_SIZE") != "" {
		most = 10 << 20
	}
	r := setup(t, options{config: api.Config{MaxBatchImages: 1, MaxImageBytes: int64(most)}})
	lines := func(text string, n int) string {
		var b strings.Builder
		for ; len(text) > n; text = text[n:] {
			b.WriteString(text[:n] + "\r\n")
		}
		return b.String() + text + "\r\n"
	}
	slashes := strings.NewReplacer("/", `\/`)
	pluses := strings.NewReplacer("+", `\u002B`)
	breaks := strings.NewReplacer("\r", `\r`, "\n", `\n`)
	// The bytes of these are a plus or a slash in base64, at any of three positions.
	for content, fill := range map[string]string{"slashes": "\xff", "pluses": "\xfb\xef\xbe", "letters": "\x00"} {
		png := sizedPNG(t, most, fill)
		text := b64(png)
		for spelling, written := range map[string]string{
			"plain":                        text,
			`\/`:                           slashes.Replace(text),
			`\u002B`:                       pluses.Replace(text),
			"lines of 76":                  breaks.Replace(lines(text, 76)),
			`lines of 64, \/ and \u002B`:   breaks.Replace(slashes.Replace(pluses.Replace(lines(text, 64)))),
			"a data URL, percent-encoded":  "data:image/png;base64," + url.QueryEscape(text),
			`escapes only, in lines of 64`: strings.NewReplacer("+", `\u002b`, "/", `\u002f`, "A", `\u0041`, "\r", `\u000d`, "\n", `\u000a`).Replace(lines(text, 64)),
		} {
			t.Run(content+", "+spelling, func(t *testing.T) {
				j := r.stored(r.do("POST", "/api/v1/batch", io.MultiReader(strings.NewReader(`{"images":[{"base64":"`), strings.NewReader(written), strings.NewReader(`"}]}`))))
				if img := j.Images[0]; img.Status != job.Processing || img.Original.Size != int64(most) {
					t.Fatalf("got %+v", img)
				}
			})
		}
	}
	j := r.stored(r.do("POST", "/api/v1/batch", strings.NewReader(`{"images":[{"base64":"`+b64(sizedPNG(t, most+1, "\x00"))+`"}]}`)))
	if j.Images[0].ErrorCode != pipeline.CodeTooLarge {
		t.Errorf("one byte more: got %+v", j.Images[0])
	}
}

// TestByteOrderMark verifies that a mark before the JSON is ignored.
func TestByteOrderMark(t *testing.T) {
	r := setup(t, options{})
	r.stored(r.do("POST", "/api/v1/batch", strings.NewReader("\ufeff"+inlineBatch(t))))
	wantError(t, r.do("POST", "/api/v1/batch", strings.NewReader("\xff\xfe{\x00}\x00")), 400, "Request body is UTF-16, want UTF-8")
}

// TestLongStringsFailTheirImagesOnly verifies that a name or a URL that is too long does not
// fail the other images, and that a retry does not use a part of it.
func TestLongStringsFailTheirImagesOnly(t *testing.T) {
	r := setup(t, options{})
	good := fmt.Sprintf(`{"base64":%q}`, b64(tinyPNG(t)))
	for name, c := range map[string]struct{ image, error, code, shown string }{
		"name":          {`{"base64":"QUJD","name":"` + strings.Repeat("n", 1025) + `"}`, "Name is longer than 1024 bytes", "invalid_name", strings.Repeat("n", 1024)},
		"name of a URL": {`{"url":"http://192.0.2.1/a.jpg","name":"` + strings.Repeat("n", 200_000) + `"}`, "Name is longer than 1024 bytes", "invalid_name", strings.Repeat("n", 1024)},
		"URL":           {`{"url":"http://192.0.2.1/` + strings.Repeat("u", 8192) + `"}`, "Invalid URL: it is longer than 8192 bytes", "url_not_allowed", "image-6"},
		"long URL":      {`{"url":"http://192.0.2.1/` + strings.Repeat("u", 200_000) + `","name":"n"}`, "Invalid URL: it is longer than 8192 bytes", "url_not_allowed", "n"},
	} {
		t.Run(name, func(t *testing.T) {
			text := `{"images":[` + strings.Repeat(good+",", 5) + c.image + strings.Repeat(","+good, 4) + `]}`
			created := r.decodeJob(r.do("POST", "/api/v1/batch", strings.NewReader(text)), 201)
			j := r.decodeJob(r.get("/api/v1/batch/"+created.JobID), 200)
			for i, img := range j.Images {
				want := fmt.Sprintf("{image-%d processing  }", i+1)
				if i == 5 {
					want = fmt.Sprintf("{%s failed %s %s}", c.shown, c.error, c.code)
				}
				if got := fmt.Sprintf("{%s %s %s %s}", img.Name, img.Status, img.Error, img.Code); got != want {
					t.Errorf("images[%d]: got %.300s, want %.300s", i, got, want)
				}
			}
			for i := range j.Images {
				if i != 5 {
					r.end(created.JobID, i, nil)
				}
			}
			wantError(t, r.retry(created.JobID), 400, "No failed images to retry")
		})
	}
}

// TestIDsInUpperCase verifies that every route accepts the ID of a job in any case, and that
// responses have it in lower case.
func TestIDsInUpperCase(t *testing.T) {
	keys := newKeyFile(t, "anna", "other")
	r := setup(t, options{keys: keys.Store})
	walked := 0
	for _, route := range r.api.Table() {
		if !strings.Contains(route.Path, ":job_id") {
			continue
		}
		walked++
		var bodies []string
		for _, change := range []func(string) string{strings.ToLower, strings.ToUpper, func(s string) string { return strings.ToUpper(s[:18]) + s[18:] }} {
			id := r.createAs(keys, "anna", 1)
			if strings.HasSuffix(route.Path, "/retry") {
				r.end(id, 0, errDamaged)
			} else if !strings.HasSuffix(route.Path, "/cancel") {
				r.end(id, 0, nil)
			}
			path := strings.NewReplacer(":job_id", change(id), ":index", "0").Replace(route.Path)
			var header []string
			if strings.HasSuffix(route.Path, "/ws") {
				header = upgrade
			}
			if got := r.as(keys, "other", route.Method, path, "", header...); got.status != http.StatusNotFound {
				t.Errorf("%s %s by another: got %d", route.Method, path, got.status)
			}
			body := ""
			if strings.HasSuffix(path, "/download") {
				body = `{"what":"jsonl"}`
			}
			got := r.upgraded(route.Method, path, body, append([]string{"Authorization", keys.keys["anna"]}, header...)...)
			if got.status >= 400 || bytes.Contains(got.body, []byte(strings.ToUpper(id))) {
				t.Errorf("%s %s: got %d %s", route.Method, path, got.status, got.body)
			}
			bodies = append(bodies, fmt.Sprint(got.status, got.header.Get("Content-Type")))
		}
		if bodies[0] != bodies[1] || bodies[0] != bodies[2] {
			t.Errorf("%s %s: the responses differ: %q", route.Method, route.Path, bodies)
		}
	}
	if walked < 8 {
		t.Errorf("got only %d routes", walked)
	}
	id := r.createAs(keys, "anna", 1)
	r.end(id, 0, errDamaged)
	again := func(id string) string {
		return string(r.as(keys, "anna", "POST", "/api/v1/batch/"+id+"/retry", "", "Idempotency-Key", "k").body)
	}
	if lower, upper := again(id), again(strings.ToUpper(id)); lower != upper || !strings.Contains(lower, id) {
		t.Errorf("one key: got %s, then %s", lower, upper)
	}
}

// upgraded does a request, and does not wait for the end of a WebSocket.
func (r *rig) upgraded(method, path, body string, header ...string) response {
	r.Helper()
	if !strings.HasSuffix(path, "/ws") {
		return r.do(method, path, strings.NewReader(body), header...)
	}
	conn := r.dial()
	_, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, path, headerLines(header))
	r.must(err)
	status := make([]byte, len("HTTP/1.1 101"))
	_, err = io.ReadFull(conn, status)
	r.must(err)
	got := response{header: http.Header{}}
	_, err = fmt.Sscan(string(status[9:]), &got.status)
	r.must(err)
	r.must(conn.Close())
	return got
}

// TestUploadThatStalls verifies that an upload may stall for 30 s, anywhere, and again after it
// has caught up with 10 kB/s, but not longer. Of a compressed body, the bytes count that arrive.
func TestUploadThatStalls(t *testing.T) {
	const s = time.Second
	text := inlineBatch(t)
	text += strings.Repeat(" ", 600_000-len(text))
	for name, c := range map[string]struct {
		coding string
		stalls []time.Duration // before equal parts of the body
		status int
	}{
		"12 s in the middle":          {"", []time.Duration{0, 12 * s}, 201},
		"12 s at the start":           {"", []time.Duration{12 * s, 0}, 201},
		"29.9 s twice":                {"", []time.Duration{299 * s / 10, 299 * s / 10}, 201},
		"29.9 s after 20 s are left":  {"", []time.Duration{299 * s / 10, 299 * s / 10, 0}, 408},
		"30.1 s":                      {"", []time.Duration{0, 301 * s / 10}, 408},
		"13 s before each 10 s worth": {"", []time.Duration{13 * s, 13 * s, 13 * s, 13 * s, 13 * s, 13 * s}, 201},
		"16 s before each 6 s worth":  {"", []time.Duration{16 * s, 16 * s, 16 * s, 0, 0, 0, 0, 0, 0, 0}, 408},
		"12 s, compressed":            {"gzip", []time.Duration{0, 12 * s}, 201},
		"30.1 s, compressed":          {"gzip", []time.Duration{0, 301 * s / 10}, 408},
		"16 s twice, compressed":      {"gzip", []time.Duration{16 * s, 16 * s}, 408},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := setup(t, options{listener: newPipes()})
				rest := text
				if c.coding == "gzip" {
					rest = gzipped(text)
				}
				conn := r.dial()
				_, err := fmt.Fprintf(conn, "POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n", c.coding, len(rest))
				r.must(err)
				var sending sync.WaitGroup
				sending.Go(func() {
					for i, stall := range c.stalls {
						time.Sleep(stall)
						n := len(rest) / (len(c.stalls) - i)
						if _, err := io.WriteString(conn, rest[:n]); err != nil {
							return // the gateway has closed the connection
						}
						rest = rest[n:]
					}
				})
				if got := r.read(conn); got.status != c.status {
					t.Errorf("got %d %s, want %d", got.status, got.body, c.status)
				}
				r.must(conn.Close())
				sending.Wait()
			})
		})
	}
}
