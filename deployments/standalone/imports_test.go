package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const base = "github.com/imagebatch/imagebatch/"

// goPackage is a package in the output of go list.
type goPackage struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,TestImports,XTestImports",
		base+"client/...", base+"shared/...", base+"gateway/...", base+"analyzer/...", base+"processor/...", base+"deployments/standalone/...", base+"deployments/chaos/...", base+"deployments/bench/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

// TestImportRules verifies which part of the repository may import which.
func TestImportRules(t *testing.T) {
	rules := []struct{ from, to, why string }{
		{"shared", "gateway", "shared does not depend on a service, so that every service builds without the others"},
		{"shared", "analyzer", "shared does not depend on a service, so that every service builds without the others"},
		{"shared", "processor", "shared does not depend on a service, so that every service builds without the others"},
		{"gateway", "analyzer", "services communicate only through queues, so that each can be deployed alone"},
		{"gateway", "processor", "services communicate only through queues, so that each can be deployed alone"},
		{"analyzer", "gateway", "services communicate only through queues, so that each can be deployed alone"},
		{"analyzer", "processor", "services communicate only through queues, so that each can be deployed alone"},
		{"processor", "gateway", "services communicate only through queues, so that each can be deployed alone"},
		{"processor", "analyzer", "services communicate only through queues, so that each can be deployed alone"},
		{"client", "shared", "a program that imports the client gets no other code of ours, and the command line only what removes metadata"},
		{"client", "gateway", "a program that imports the client gets no other code of ours"},
		{"client", "analyzer", "a program that imports the client gets no other code of ours"},
		{"client", "processor", "a program that imports the client gets no other code of ours"},
		{"shared", "client", "the services do not depend on their clients"},
		{"gateway", "client", "the services do not depend on their clients"},
		{"analyzer", "client", "the services do not depend on their clients"},
		{"processor", "client", "the services do not depend on their clients"},
		{"gateway", "shared/imagefile/imagetest", "bombs are only for tests"},
		{"analyzer", "shared/imagefile/imagetest", "bombs are only for tests"},
		{"processor", "shared/imagefile/imagetest", "bombs are only for tests"},
		{"deployments/standalone", "shared/imagefile/imagetest", "bombs are only for tests"},
		{"shared/pipeline", "shared", "the message contract is independent: a reader of messages needs no other package"},
		{"analyzer", "analyzer/internal/fixture", "fixtures are only for tests"},
		{"analyzer", "analyzer/visiontest", "the stand-in of a vision model is only for tests"},
		{"deployments/standalone", "analyzer/visiontest", "the stand-in of a vision model is only for tests"},
		{"analyzer/internal/embedded", "analyzer/internal/visual", "data runs one way: file, pixels, caption"},
		{"analyzer/internal/embedded", "analyzer/internal/caption", "data runs one way: file, pixels, caption"},
		{"analyzer/internal/embedded", "analyzer/internal/describe", "data runs one way: file, pixels, caption"},
		{"analyzer/internal/visual", "analyzer/internal/embedded", "a measurement depends on the record, not on the file"},
		{"analyzer/internal/visual", "analyzer/internal/caption", "data runs one way: file, pixels, caption"},
		{"analyzer/internal/visual", "analyzer/internal/describe", "data runs one way: file, pixels, caption"},
		{"analyzer/internal/caption", "analyzer/internal/describe", "data runs one way: file, pixels, caption"},
		{"shared/imagefile/tiff", "shared/imagefile", "a part of a container does not depend on the container"},
		{"shared/imagefile/iptc", "shared/imagefile", "a part of a container does not depend on the container"},
		{"shared/imagefile/xmp", "shared/imagefile", "a part of a container does not depend on the container"},
		{"shared/imagefile/icc", "shared/imagefile", "a part of a container does not depend on the container"},
		{"shared/broker", "shared/broker/", "an interface does not depend on its implementations"},
		{"shared/objectstore", "shared/objectstore/", "an interface does not depend on its implementations"},
		{"gateway/internal/job", "gateway/internal/job/", "an interface does not depend on its implementations"},
		{"gateway/internal/job", "gateway/internal/api", "the domain does not depend on HTTP"},
		{"gateway/internal/progress", "gateway/internal/api", "progress does not depend on HTTP"},
		{"shared/stage", "shared/broker/", "a stage works with every broker"},
		{"shared/telemetry", "shared/broker/", "it works with every broker"},
		{"shared/telemetry", "shared/objectstore/", "it works with every store"},
		{"shared", "shared/telemetry/telemetrytest", "the collector is only for tests"},
		{"gateway", "shared/telemetry/telemetrytest", "the collector is only for tests"},
		{"analyzer", "shared/telemetry/telemetrytest", "the collector is only for tests"},
		{"processor", "shared/telemetry/telemetrytest", "the collector is only for tests"},
		{"deployments/standalone", "shared/telemetry/telemetrytest", "the collector is only for tests"},
		{"deployments/chaos", "gateway", "the judge of the services uses no internals of theirs"},
		{"deployments/chaos", "analyzer", "the judge of the services uses no internals of theirs"},
		{"deployments/chaos", "processor", "the judge of the services uses no internals of theirs"},
		{"deployments/bench", "gateway", "the benchmark measures the released programs and the services' own benchmarks"},
		{"deployments/bench", "analyzer", "the benchmark measures the released programs and the services' own benchmarks"},
		{"deployments/bench", "processor", "the benchmark measures the released programs and the services' own benchmarks"},
		{"deployments/bench", "shared", "a client of the API needs none of our packages"},
	}
	for _, p := range listPackages(t) {
		from := strings.TrimPrefix(p.ImportPath, base)
		for _, imported := range p.Imports {
			to, ours := strings.CutPrefix(imported, base)
			if !ours {
				continue
			}
			for _, r := range rules {
				if from == "client/cmd/imagebatch" && to == "shared/embed" || (from == "deployments/chaos" || from == "analyzer/visiontest/ollama") && to == "analyzer/visiontest" {
					continue
				}
				if within(from, r.from) && within(to, r.to) {
					t.Errorf("%s imports %s: %s", from, to, r.why)
				}
			}
		}
	}
}

// within reports whether the package matches the place: a name without a slash is a module,
// a name with a trailing slash matches the packages below it, and any other name is a package.
func within(pkg, place string) bool {
	switch {
	case strings.HasSuffix(place, "/"):
		return strings.HasPrefix(pkg, place)
	case !strings.Contains(place, "/"):
		return pkg == place || strings.HasPrefix(pkg, place+"/")
	}
	return pkg == place
}

// TestStandardLibraryOnly verifies that the basic packages import only the standard library
// and each other.
func TestStandardLibraryOnly(t *testing.T) {
	for _, p := range listPackages(t) {
		switch strings.TrimPrefix(p.ImportPath, base) {
		case "client", "shared/pipeline", "shared/broker", "shared/objectstore", "shared/imagefile",
			"shared/imagefile/edit", "shared/imagefile/icc", "shared/imagefile/iptc", "shared/imagefile/stocktext", "shared/imagefile/tiff", "shared/imagefile/xmp":
			for _, imported := range p.Imports {
				if strings.Contains(strings.Split(imported, "/")[0], ".") && !strings.HasPrefix(imported, base) {
					t.Errorf("%s imports %s: it may import only the standard library", p.ImportPath, imported)
				}
			}
		}
	}
}

// TestOneImporter verifies that each library behind an adapter has exactly one importer,
// tests included, so that replacing the library changes only one folder.
func TestOneImporter(t *testing.T) {
	only := map[string]string{
		"github.com/labstack/echo/v4":         "gateway/internal/api",
		"nhooyr.io/websocket":                 "gateway/internal/api",
		"github.com/rabbitmq/amqp091-go":      "shared/broker/rabbitmq",
		"github.com/minio/minio-go/v7":        "shared/objectstore/s3store",
		"github.com/disintegration/imaging":   "analyzer/internal/scale",
		"github.com/prometheus/client_golang": "shared/telemetry",
		"github.com/klauspost/compress":       "gateway/internal/coding",
		"modernc.org/sqlite":                  "gateway/internal/job/sqlstore",
		"github.com/jackc/pgx/v5":             "gateway/internal/job/sqlstore",
		"github.com/bep/imagemeta":            "analyzer/internal/embedded",
		"github.com/lucasb-eyer/go-colorful":  "analyzer/internal/visual",
		"github.com/caarlos0/env/v11":         "shared/service",
		"github.com/gofrs/flock":              "client/cmd/imagebatch/internal/lockfile",
		"github.com/spf13/cobra":              "client/cmd/imagebatch",
		"golang.org/x/term":                   "client/cmd/imagebatch",
		"go.opentelemetry.io/otel":            "shared/telemetry",
		"go.opentelemetry.io/proto/otlp":      "shared/telemetry/telemetrytest",
		"go.yaml.in/yaml/v3":                  "gateway/internal/openapi",
		"github.com/getkin/kin-openapi":       "deployments/standalone",
	}
	// These additional importers are not part of a release.
	additional := map[string][]string{
		"github.com/disintegration/imaging": {
			"deployments/bench",          // implements the naive pipeline with it, and scales the test photos
			"analyzer/internal/describe", // scales and blurs test images
		},
		"github.com/klauspost/compress": {
			"gateway/internal/intake/download", // encodes test images
		},
		"github.com/rabbitmq/amqp091-go": {
			"deployments/standalone", // deletes the owner queue, for which rabbitmqctl takes two seconds
		},
		"go.yaml.in/yaml/v3": {
			"deployments/standalone", // reads compose.yaml and the configurations of Prometheus and Grafana
		},
		"github.com/minio/minio-go/v7": {
			"shared/objectstore/roletest", // requests keys from an STS
			"shared/objectstore/locktest", // creates and empties buckets with Object Lock
		},
	}
	used := map[string]bool{}
	for _, p := range listPackages(t) {
		from := strings.TrimPrefix(p.ImportPath, base)
		for _, imported := range append(append(p.Imports, p.TestImports...), p.XTestImports...) {
			for library, importer := range only {
				if imported != library && !strings.HasPrefix(imported, library+"/") {
					continue
				}
				if slices.Contains(additional[library], from) {
					continue
				}
				used[library] = true
				if from != importer {
					t.Errorf("%s imports %s: only %s may import it", from, imported, importer)
				}
			}
		}
	}
	for library, importer := range only {
		if !used[library] {
			t.Errorf("%s is not imported by %s: fix this list", library, importer)
		}
	}
}

// hidden are packages of the standard library whose names we use anyway, with the reason.
var hidden = map[string]string{
	"debug/buildinfo": "it reads the build information of other programs, which no package here does",
	"embed":           "the usual word for writing metadata into a file; no service embeds files with go:embed",
}

// TestPackageNames verifies that no two packages share a name and that none shadows the
// standard library, so that no import needs an alias.
func TestPackageNames(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "std").Output()
	if err != nil {
		t.Fatal(err)
	}
	taken := map[string]string{}
	for std := range strings.FieldsSeq(string(out)) {
		if hidden[std] == "" && !strings.Contains(std, "internal") && !strings.Contains(std, "vendor/") {
			taken[path.Base(std)] = std
		}
	}
	for _, p := range listPackages(t) {
		name := path.Base(p.ImportPath)
		if strings.Contains(p.ImportPath, "/cmd/") || name == "standalone" || !strings.Contains(strings.TrimPrefix(p.ImportPath, base), "/") {
			continue
		}
		if other, ok := taken[name]; ok {
			t.Errorf("%s has the same name as %s", p.ImportPath, other)
		}
		taken[name] = p.ImportPath
	}
}
