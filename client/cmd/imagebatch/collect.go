package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/imagebatch/imagebatch/client"
)

// item is one image to send.
type item struct {
	id       string // custom ID: the path relative to the argument, with slashes, or the URL
	path     string // local file
	data     []byte // standard input
	url      string
	size     int64 // of a file
	modified time.Time
}

// name returns what messages call the image.
func (i *item) name() string {
	if i.path != "" {
		return i.path
	}
	return i.id
}

// collection is what the arguments select.
type collection struct {
	items   []*item
	skipped int // files in folders that are no images
	errs    []error
}

// collector finds the images of the command line.
type collector struct {
	recursive bool
	out       string // folder of outputs, which is not sent
	limits    client.Limits
	stdin     io.Reader
	outInfo   fs.FileInfo
	collection
}

// collect returns the images that the arguments and the file of URLs select. An argument that
// does not exist is an error; a file in a folder that cannot be read is one of errs.
func (c *collector) collect(args []string, urlFile string) error {
	if c.out != "" {
		c.outInfo, _ = os.Stat(c.out) // it may not exist yet
	}
	for _, arg := range args {
		if arg == "-" {
			if err := c.standardInput(); err != nil {
				return err
			}
			continue
		}
		info, err := os.Stat(arg)
		switch {
		case err != nil:
			return &localError{err}
		case info.IsDir() && !c.recursive:
			return &usageError{fmt.Errorf("%s is a folder; use -r to send the images in it", arg)}
		case info.IsDir():
			if err := c.folder(arg); err != nil {
				return err
			}
		case !info.Mode().IsRegular():
			return &localError{fmt.Errorf("%s is not a regular file", arg)}
		default:
			c.add(filepath.Base(arg), arg, info)
		}
	}
	if urlFile != "" {
		return c.urls(urlFile)
	}
	return nil
}

func (c *collector) add(id, file string, info fs.FileInfo) {
	c.items = append(c.items, &item{id: id, path: file, size: info.Size(), modified: info.ModTime()})
}

// standardInput reads an image, which must be in memory to be sent again.
func (c *collector) standardInput() error {
	data, err := io.ReadAll(io.LimitReader(c.stdin, c.limits.MaxImageBytes+1))
	if err != nil {
		return &localError{fmt.Errorf("read standard input: %w", err)}
	}
	if len(data) == 0 {
		return &localError{errors.New("standard input is empty")}
	}
	id := "stdin"
	if format := formatOf(data); format != "" {
		id += "." + strings.Replace(format, "jpeg", "jpg", 1)
	}
	c.items = append(c.items, &item{id: id, data: data, size: int64(len(data))})
	return nil
}

// folder adds the images of a folder and its subfolders. Their IDs start with the name of
// the folder, as cp -r would copy them, unless the argument is "." or ends with "/.".
func (c *collector) folder(root string) error {
	prefix := ""
	if slash := filepath.ToSlash(root); path.Base(slash) != "." && !strings.HasSuffix(slash, "/.") {
		abs, err := filepath.Abs(root)
		if err != nil {
			return &localError{err}
		}
		if prefix = filepath.Base(abs); !filepath.IsLocal(prefix) { // "/" or a volume
			prefix = ""
		}
	}
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			c.errs = append(c.errs, err)
			return nil
		}
		hidden := strings.HasPrefix(entry.Name(), ".") && file != root
		if entry.IsDir() {
			if hidden || entry.Name() == "@eaDir" || c.isOut(entry) && file != root {
				return fs.SkipDir
			}
			return nil
		}
		if hidden {
			return nil
		}
		info, err := os.Stat(file) // follows a symbolic link to a file
		if err != nil {
			c.errs = append(c.errs, err)
			return nil
		}
		if !info.Mode().IsRegular() {
			c.skipped++
			return nil
		}
		isImage, err := c.isImage(file)
		switch {
		case err != nil:
			c.errs = append(c.errs, err)
		case !isImage:
			c.skipped++
		default:
			rel, err := filepath.Rel(root, file)
			if err != nil {
				return err
			}
			c.add(path.Join(prefix, filepath.ToSlash(rel)), file, info)
		}
		return nil
	})
	if err != nil {
		return &localError{err}
	}
	return nil
}

func (c *collector) isOut(entry fs.DirEntry) bool {
	if c.outInfo == nil {
		return false
	}
	info, err := entry.Info()
	return err == nil && os.SameFile(info, c.outInfo)
}

// isImage reports whether the file starts like an image of a format that the gateway
// supports.
func (c *collector) isImage(file string) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	start := make([]byte, 512)
	n, err := io.ReadFull(f, start)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return slices.Contains(c.limits.Formats, formatOf(start[:n])), nil
}

// formatOf returns the format of an image, like "jpeg", or nothing.
func formatOf(start []byte) string {
	format, _ := strings.CutPrefix(http.DetectContentType(start), "image/")
	if strings.Contains(format, "/") {
		return ""
	}
	return format
}

// maxURLs limits what is read of a file of URLs.
const maxURLs = 64 << 20

// urls adds the URLs of a file, one in a line. Empty lines, and lines that start with #, are
// ignored.
func (c *collector) urls(name string) error {
	in := c.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return &localError{err}
		}
		defer f.Close()
		in = f
	}
	lines := bufio.NewScanner(io.LimitReader(in, maxURLs))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(string(bytes.TrimPrefix(lines.Bytes(), []byte("\xEF\xBB\xBF"))))
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		u, err := url.Parse(line)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return &usageError{fmt.Errorf("%s, line %d: %q is not an http or https URL", name, n, line)}
		}
		c.items = append(c.items, &item{id: line, url: line})
	}
	if err := lines.Err(); err != nil {
		return &localError{fmt.Errorf("%s: %w", name, err)}
	}
	return nil
}

// image returns the item as the client sends it. A custom ID that is too long is left out: the
// gateway would ignore it.
func (i *item) image(wrap func(io.ReadCloser) io.ReadCloser) client.Image {
	img := client.Image{Name: path.Base(i.id), CustomID: i.id, Size: i.size}
	if len(img.CustomID) > 255 || !utf8.ValidString(img.CustomID) {
		img.CustomID = ""
	}
	if i.url != "" {
		img.Name, img.URL = "", i.url
		return img
	}
	img.Open = func() (io.ReadCloser, error) {
		if i.data != nil {
			return wrap(io.NopCloser(bytes.NewReader(i.data))), nil
		}
		f, err := os.Open(i.path)
		if err != nil {
			return nil, err
		}
		return wrap(f), nil
	}
	return img
}
