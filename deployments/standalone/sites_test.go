package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/analyzer/visiontest"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// site is a running system that the scenarios of a file use, behind a front of its own.
type site struct {
	front *front
	model *visiontest.Server // nil without captions

	URL         string `json:"url"`          // the page, as the browser opens it
	API         string `json:"api"`          // the same place under an address that needs no name
	Key         string `json:"key"`          // the key of anna; empty: the system has no keys
	OperatorKey string `json:"operator_key"` // the key of ops, an operator
}

// slowDownloads makes a gateway wait for an image for as long as a scenario holds it back.
var slowDownloads = []string{"DOWNLOAD_HEADER_TIMEOUT=2m", "DOWNLOAD_TIMEOUT=2m"}

// sites start the systems that a scenario can name. A system belongs to one file of scenarios.
var sites = map[string]func(t *testing.T) *site{
	"open": func(t *testing.T) *site { return newSite(t, forms["standalone"](t, slowDownloads...)) },
	"keys": func(t *testing.T) *site {
		program, file, anna, ops := consoleKeys(t)
		p := &process{t: t, name: program, addr: freeAddr(t), key: ops, env: []string{
			"DATA_DIR=" + t.TempDir(), "DOWNLOAD_ALLOW_NETWORKS=127.0.0.0/8", "API_KEYS_FILE=" + file,
		}}
		p.startChecked()
		p.awaitReady()
		s := newSite(t, &system{process: p})
		s.Key, s.OperatorKey = anna, ops
		return s
	},
	"prefix": func(t *testing.T) *site {
		s := newSite(t, forms["standalone"](t, "BASE_PATH="+basePath))
		s.URL += basePath[1:] + "/"
		s.API += basePath[1:] + "/"
		return s
	},
	// Deletes each job 3 s after its end.
	"brief": func(t *testing.T) *site { return newSite(t, forms["standalone"](t, "JOB_RETENTION=3s")) },
	// Takes two images in a batch, so that a small upload has several requests.
	"pairs": func(t *testing.T) *site { return newSite(t, forms["standalone"](t, "MAX_BATCH_IMAGES=2")) },
	// Outside of localhost, a page on plain HTTP is no secure context. run.mjs resolves the name.
	"nas": func(t *testing.T) *site {
		s := newSite(t, forms["standalone"](t, "ALLOWED_HOSTS=nas,127.0.0.1"))
		s.URL = strings.Replace(s.URL, "127.0.0.1", "nas", 1)
		return s
	},
	"captions": func(t *testing.T) *site {
		model := visiontest.Start(t, "secret")
		s := newSite(t, forms["standalone"](t, captionEnv(model, slowDownloads...)...))
		s.model = model
		return s
	},
	// Three services with a model, for pictures.mjs.
	"show": func(t *testing.T) *site {
		model := visiontest.Start(t, "secret")
		s := newSite(t, forms["services"](t, append(captionEnv(model, slowDownloads...), "CAPTION_MODEL=vision-model")...))
		s.model = model
		return s
	},
	"gateways": func(t *testing.T) *site {
		a, b, _ := twoGateways(t)
		return newSite(t, a, b)
	},
	// A page that is not ours, for faults.mjs.
	"faults": func(t *testing.T) *site {
		const page = `<!doctype html><html lang="en"><title>Faults</title><link rel="icon" href="data:,"><main><h1>Faults</h1><p>None yet.</p><button>One</button><button>Two</button></main></html>`
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/" {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Security-Policy", "default-src 'none'; img-src 'self' data:; connect-src *; require-trusted-types-for 'script'; trusted-types 'none'")
			_, _ = io.WriteString(w, page) // The client may be gone.
		}))
		t.Cleanup(server.Close)
		return newSite(t, &system{process: &process{addr: server.Listener.Addr().String()}})
	},
}

// absent returns why a system cannot run here, or "".
func absent(name string) string {
	needed := map[string][]string{
		"gateways": {"TEST_POSTGRES_URL", "TEST_RABBITMQ_URL", "TEST_S3_ENDPOINT"},
		"show":     {"TEST_RABBITMQ_URL", "TEST_S3_ENDPOINT"},
	}
	for _, variable := range needed[name] {
		if os.Getenv(variable) == "" {
			return variable + " is not set"
		}
	}
	return ""
}

func newSite(t *testing.T, systems ...*system) *site {
	t.Helper()
	var gateways []*process
	for _, s := range systems {
		gateways = append(gateways, s.process)
	}
	f := newFront(t, gateways...)
	return &site{front: f, URL: f.server.URL + "/", API: f.server.URL + "/"}
}

// consoleKeys creates a file with the keys of anna and of ops, an operator. It also returns the program that created them.
func consoleKeys(t *testing.T) (program, file, anna, ops string) {
	t.Helper()
	programs, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	program, file = filepath.Join(programs, "standalone"), filepath.Join(t.TempDir(), "keys")
	var lines, keys []string
	for _, name := range []string{"anna", "ops"} {
		out := execute(t, "", program, "api-keys", "new", name)
		_, line, found := strings.Cut(out, "line: ")
		key := regexp.MustCompile(`ib_[\w-]{43}`).FindString(out)
		if !found || key == "" {
			t.Fatalf("api-keys new prints %q", out)
		}
		lines, keys = append(lines, strings.TrimSpace(line)), append(keys, key)
	}
	writeFile(t, file, []byte(lines[0]+"\n"+lines[1]+" operator\n"))
	return program, file, keys[0], keys[1]
}

// modelAnswers are what a scenario can make the model's server do.
var modelAnswers = map[string]visiontest.Reply{
	"ok":      visiontest.Default,
	"refused": visiontest.Status(http.StatusUnauthorized, "{}"),
	"down":    visiontest.Drop,
}

var errNoModel = errors.New("this system has no model")

// bury adds a dead letter about an image, like that of an analyzer which has failed five times. The image itself stays as it is.
func (s *site) bury(t *testing.T, image controlBody) error {
	t.Helper()
	var node string
	for _, variable := range s.front.gateways[0].env {
		if value, ok := strings.CutPrefix(variable, "RABBITMQ_URL="); ok {
			node = value
		}
	}
	if node == "" {
		return fmt.Errorf("this system has no broker")
	}
	envelope := pipeline.NewEnvelope(image.JobID, image.Index, time.Now())
	envelope.Attempt = pipeline.MaxAttempts
	body, err := json.Marshal(struct {
		pipeline.Envelope
		Name string `json:"original_filename"`
	}{envelope, image.Name})
	if err != nil {
		return err
	}
	b, err := rabbitmq.Open(rabbitmq.Config{URLs: []string{node}}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	err = b.Publish(t.Context(), broker.DeadQueue(pipeline.ImageUpload.Name), broker.Message{Body: body})
	return errors.Join(err, b.Close())
}

// act does what a scenario requests at the control server, in the test's own goroutine.
func (s *site) act(t *testing.T, action string, body controlBody) (any, error) {
	t.Helper()
	if body.Gateway < 0 || body.Gateway >= len(s.front.gateways) {
		return nil, fmt.Errorf("there is no gateway %d", body.Gateway)
	}
	gateway := s.front.gateways[body.Gateway]
	switch action {
	case "site":
		return s, nil
	case "conditions":
		s.front.set(body.conditions)
	case "cut":
		s.front.cut()
	case "kill":
		_ = gateway.end(os.Kill) // The error reports the kill.
	case "start":
		if gateway.done == nil {
			gateway.start()
			gateway.awaitReady()
		}
	case "dead_letter":
		return struct{}{}, s.bury(t, body)
	case "caption":
		if s.model == nil {
			return nil, errNoModel
		}
		s.model.Play(visiontest.Content(string(body.Caption)))
	case "model":
		if s.model == nil {
			return nil, errNoModel
		}
		if body.Answer != "" {
			reply, ok := modelAnswers[body.Answer]
			if !ok {
				return nil, fmt.Errorf("unknown answer %q", body.Answer)
			}
			s.model.Play(reply)
		}
		pictures := 0
		for _, r := range s.model.Requests() {
			if r.Picture != nil {
				pictures++
			}
		}
		return map[string]int{"pictures": pictures}, nil
	default:
		return nil, fmt.Errorf("unknown action %q", action)
	}
	return struct{}{}, nil
}
