// Command ollama is a stand-in for Ollama, for the image that deployments/local/stand-ins.sh builds. It has the commands that
// compose.yaml and `make up` run: serve, list and pull. Its model describes an image by its size in pixels. As in
// Ollama, list and pull need the server, and the server only knows the models that pull has stored in the volume.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/imagebatch/imagebatch/analyzer/visiontest"
)

const (
	models = "/root/.ollama/models"
	port   = ":11434"
)

func main() {
	args := os.Args[1:]
	var err error
	switch {
	case len(args) == 1 && args[0] == "serve":
		err = serve()
	case len(args) == 1 && args[0] == "list":
		err = call("/api/tags")
	case len(args) == 2 && args[0] == "pull":
		err = call("/api/pull?" + url.Values{"model": {args[1]}}.Encode())
	default:
		err = errors.New("usage: ollama serve | list | pull MODEL")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve runs the server. It logs requests that the real one would not accept.
func serve() error {
	model, err := visiontest.New("", func(err error) { fmt.Println(err) })
	if err != nil {
		return err
	}
	defer model.Close()
	model.Play(describe)
	mux := http.NewServeMux()
	mux.Handle("/v1/chat/completions", model)
	mux.HandleFunc("/api/tags", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/api/pull", func(w http.ResponseWriter, r *http.Request) {
		if err := os.MkdirAll(file(r.FormValue("model")), 0o700); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return (&http.Server{Addr: port, Handler: mux, ReadHeaderTimeout: time.Minute}).ListenAndServe()
}

func file(model string) string { return filepath.Join(models, url.QueryEscape(model)) }

// describe is the reply of the model.
func describe(w http.ResponseWriter, r *http.Request, q visiontest.Request) {
	picture, err := jpeg.DecodeConfig(bytes.NewReader(q.Picture))
	if err == nil {
		_, err = os.Stat(file(q.Model))
	}
	if err != nil {
		fmt.Println(err)
		visiontest.Error(http.StatusNotFound, err.Error(), "not_found_error", "", "")(w, r, q)
		return
	}
	size := fmt.Sprintf("%dx%d", picture.Width, picture.Height)
	fmt.Println(q.Model, "describes", size)
	visiontest.Answer(visiontest.Title, size, []string{"disk"}, visiontest.AltText)(w, r, q)
}

// call sends a request to the server in the same container.
func call(path string) error {
	response, err := http.Post("http://127.0.0.1"+port+path, "", nil) //nolint:noctx // The health check has a timeout.
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, body)
	}
	return err
}
