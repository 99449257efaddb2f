// Package console has the files of the console, the page at /: HTML, a script, a style sheet and
// an icon. The page loads no other file, from no other host, and all its links are relative, so
// that it works below any path. Screens that the first visit does not need are scripts of their
// own, which the page loads later.
//
// The folder dist is built from src by `go generate` and committed: a change of the Go code needs
// neither Node.js nor the bundler. A test compares dist with the sources.
package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

//go:embed dist
var dist embed.FS

// Policy is the Content-Security-Policy of the page. No text can become a script: there are no
// inline scripts and no eval, and with Trusted Types, but without a policy of them, every sink
// such as innerHTML throws. 'self' in connect-src includes WebSockets to the gateway (Content
// Security Policy Level 3, section 6.7.2.8); a browser that follows an older level refuses
// them, and the page then uses server-sent events.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; " +
	"form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// File is one file of the page.
type File struct {
	ContentType string
	Data        []byte
	Gzip        []byte // the same in gzip
	ETag        string // without quotes; changes with the data
	Digested    bool   // the name has a digest of the data, so a file of this name never changes
	First       bool   // a browser loads the file on its first visit
}

// digested matches the names of the chunks that esbuild makes.
var digested = regexp.MustCompile(`^[a-z]+-[0-9A-Z]{8}\.js$`)

// imported matches the static imports of a script, but not those on demand.
var imported = regexp.MustCompile(`\bfrom"\./([^"]+)"`)

// Files returns the files by name. They are compressed on the first call; callers must not change
// them.
var Files = sync.OnceValue(func() map[string]*File {
	files := map[string]*File{
		"index.html": {ContentType: "text/html; charset=utf-8", First: true},
		"app.js":     {ContentType: "text/javascript; charset=utf-8", First: true},
		"style.css":  {ContentType: "text/css; charset=utf-8", First: true},
		"later.css":  {ContentType: "text/css; charset=utf-8"},
		"icon.svg":   {ContentType: "image/svg+xml", First: true},
	}
	found, err := dist.ReadDir("dist")
	if err != nil {
		panic(err) // the build would have failed
	}
	all := sha256.New()
	for _, entry := range found {
		name := entry.Name()
		if digested.MatchString(name) {
			files[name] = &File{ContentType: "text/javascript; charset=utf-8", Digested: true}
		}
		f := files[name]
		if f == nil {
			panic("console: unknown file " + name) // TestBundle would have failed
		}
		if f.Data, err = dist.ReadFile("dist/" + name); err != nil {
			panic(err) // it was listed
		}
		all.Write(f.Data)
	}
	index := files["index.html"]
	index.Data = completed(index.Data, preloads(files, "app.js"), fmt.Sprintf("%x", all.Sum(nil)[:8]))
	for _, f := range files {
		f.Gzip = compressed(f.Data)
		sum := sha256.Sum256(f.Data)
		f.ETag = fmt.Sprintf("%x", sum[:8])
	}
	return files
})

// preloads marks the chunks that a script needs before it runs, and returns their names.
func preloads(files map[string]*File, name string) []string {
	var names []string
	for _, m := range imported.FindAllSubmatch(files[name].Data, -1) {
		chunk := string(m[1])
		if f := files[chunk]; !f.First {
			f.First = true
			names = append(append(names, chunk), preloads(files, chunk)...)
		}
	}
	return names
}

// completed returns the HTML with links to the chunks that the script needs, so that a browser
// does not have to read the script before it loads them, and with the digest of all files, by
// which an open page finds out that there is another release.
func completed(index []byte, chunks []string, digest string) []byte {
	var head strings.Builder
	fmt.Fprintf(&head, `<meta name="digest" content="%s">`, digest)
	for _, name := range chunks {
		fmt.Fprintf(&head, "\n<link rel=\"modulepreload\" href=\"%s\">", name)
	}
	return bytes.Replace(index, []byte("</head>"), []byte(head.String()+"\n</head>"), 1)
}

func compressed(data []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // a buffer takes all writes
	}
	return b.Bytes()
}
