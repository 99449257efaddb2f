// Package console has the files of the console, the page at /: HTML, a script, a style sheet and
// an icon. The page loads no other file, from no other host, and all its links are relative, so
// that it works below any path.
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
}

// Files returns the files by name. They are compressed on the first call; callers must not change
// them.
var Files = sync.OnceValue(func() map[string]*File {
	files := map[string]*File{
		"index.html": {ContentType: "text/html; charset=utf-8"},
		"app.js":     {ContentType: "text/javascript; charset=utf-8"},
		"style.css":  {ContentType: "text/css; charset=utf-8"},
		"icon.svg":   {ContentType: "image/svg+xml"},
	}
	for name, f := range files {
		data, err := dist.ReadFile("dist/" + name)
		if err != nil {
			panic(err) // the build would have failed
		}
		f.Data, f.Gzip = data, compressed(data)
		sum := sha256.Sum256(data)
		f.ETag = fmt.Sprintf("%x", sum[:8])
	}
	return files
})

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
