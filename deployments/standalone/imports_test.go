package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"
)

const base = "github.com/imagebatch/imagebatch/"

// goPackage is what go list tells of a package.
type goPackage struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,TestImports,XTestImports",
		base+"shared/...", base+"gateway/...", base+"analyzer/...", base+"processor/...", base+"deployments/standalone/...", base+"deployments/chaos/...", base+"deployments/bench/...")
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

// TestImportRules holds which part of the house may import which.
func TestImportRules(t *testing.T) {
	rules := []struct{ from, to, why string }{
		{"shared", "gateway", "shared knows no service, so that every service builds without the others"},
		{"shared", "analyzer", "shared knows no service, so that every service builds without the others"},
		{"shared", "processor", "shared knows no service, so that every service builds without the others"},
		{"gateway", "analyzer", "services meet on queues only, so that each is deployed alone"},
		{"gateway", "processor", "services meet on queues only, so that each is deployed alone"},
		{"analyzer", "gateway", "services meet on queues only, so that each is deployed alone"},
		{"analyzer", "processor", "services meet on queues only, so that each is deployed alone"},
		{"processor", "gateway", "services meet on queues only, so that each is deployed alone"},
		{"processor", "analyzer", "services meet on queues only, so that each is deployed alone"},
		{"gateway", "shared/imagefile/imagetest", "bombs are for tests"},
		{"analyzer", "shared/imagefile/imagetest", "bombs are for tests"},
		{"processor", "shared/imagefile/imagetest", "bombs are for tests"},
		{"deployments/standalone", "shared/imagefile/imagetest", "bombs are for tests"},
		{"shared/pipeline", "shared", "the message contract stands alone: whoever reads messages needs nothing else"},
		{"shared/broker", "shared/broker/", "an interface does not know its implementations"},
		{"shared/objectstore", "shared/objectstore/", "an interface does not know its implementations"},
		{"gateway/internal/job", "gateway/internal/job/", "an interface does not know its implementations"},
		{"gateway/internal/job", "gateway/internal/api", "the domain knows no HTTP"},
		{"gateway/internal/progress", "gateway/internal/api", "progress knows no HTTP"},
		{"shared/stage", "shared/broker/", "a stage runs on every broker"},
		{"shared/telemetry", "shared/broker/", "it decorates every broker"},
		{"shared/telemetry", "shared/objectstore/", "it decorates every store"},
		{"shared", "shared/telemetry/telemetrytest", "a collector is for tests"},
		{"gateway", "shared/telemetry/telemetrytest", "a collector is for tests"},
		{"analyzer", "shared/telemetry/telemetrytest", "a collector is for tests"},
		{"processor", "shared/telemetry/telemetrytest", "a collector is for tests"},
		{"deployments/standalone", "shared/telemetry/telemetrytest", "a collector is for tests"},
		{"deployments/chaos", "gateway", "who judges the services knows none from within"},
		{"deployments/chaos", "analyzer", "who judges the services knows none from within"},
		{"deployments/chaos", "processor", "who judges the services knows none from within"},
		{"deployments/bench", "gateway", "what is measured is what is shipped: the programs, and the services' own benchmarks"},
		{"deployments/bench", "analyzer", "what is measured is what is shipped: the programs, and the services' own benchmarks"},
		{"deployments/bench", "processor", "what is measured is what is shipped: the programs, and the services' own benchmarks"},
		{"deployments/bench", "shared", "a client of the API needs nothing of ours"},
	}
	for _, p := range listPackages(t) {
		from := strings.TrimPrefix(p.ImportPath, base)
		for _, imported := range p.Imports {
			to, ours := strings.CutPrefix(imported, base)
			if !ours {
				continue
			}
			for _, r := range rules {
				if within(from, r.from) && within(to, r.to) {
					t.Errorf("%s imports %s: %s", from, to, r.why)
				}
			}
		}
	}
}

// within reports whether the package lies in the place: in a module for a bare
// name, strictly below it for a name with a slash at its end, else it is it.
func within(pkg, place string) bool {
	switch {
	case strings.HasSuffix(place, "/"):
		return strings.HasPrefix(pkg, place)
	case !strings.Contains(place, "/"):
		return pkg == place || strings.HasPrefix(pkg, place+"/")
	}
	return pkg == place
}

// TestStandardLibraryOnly holds the packages that everything stands on to the
// standard library and to one another.
func TestStandardLibraryOnly(t *testing.T) {
	for _, p := range listPackages(t) {
		switch strings.TrimPrefix(p.ImportPath, base) {
		case "shared/pipeline", "shared/broker", "shared/objectstore", "shared/imagefile":
			for _, imported := range p.Imports {
				if strings.Contains(strings.Split(imported, "/")[0], ".") && !strings.HasPrefix(imported, base) {
					t.Errorf("%s imports %s: it is to import the standard library only", p.ImportPath, imported)
				}
			}
		}
	}
}

// TestOneImporter holds that each outside library behind an adapter has exactly
// one importer, tests included, so that its successor is a change of one folder.
func TestOneImporter(t *testing.T) {
	only := map[string]string{
		"github.com/labstack/echo/v4":         "gateway/internal/api",
		"nhooyr.io/websocket":                 "gateway/internal/api",
		"github.com/rabbitmq/amqp091-go":      "shared/broker/rabbitmq",
		"github.com/minio/minio-go/v7":        "shared/objectstore/s3store",
		"github.com/disintegration/imaging":   "analyzer/internal/describe",
		"github.com/prometheus/client_golang": "shared/telemetry",
		"modernc.org/sqlite":                  "gateway/internal/job/sqlstore",
		"github.com/jackc/pgx/v5":             "gateway/internal/job/sqlstore",
		"github.com/bep/imagemeta":            "analyzer/internal/describe",
		"github.com/lucasb-eyer/go-colorful":  "analyzer/internal/describe",
		"github.com/caarlos0/env/v11":         "shared/service",
		"go.opentelemetry.io/otel":            "shared/telemetry",
		"go.opentelemetry.io/proto/otlp":      "shared/telemetry/telemetrytest",
	}
	// Nothing that is shipped is among these.
	besides := map[string]string{
		"github.com/disintegration/imaging": "deployments/bench",           // compares with the pipeline that it would make, and scales pictures
		"github.com/minio/minio-go/v7":      "shared/objectstore/roletest", // asks an STS for keys
	}
	used := map[string]bool{}
	for _, p := range listPackages(t) {
		from := strings.TrimPrefix(p.ImportPath, base)
		for _, imported := range append(append(p.Imports, p.TestImports...), p.XTestImports...) {
			for library, importer := range only {
				if imported != library && !strings.HasPrefix(imported, library+"/") {
					continue
				}
				if from == besides[library] {
					continue
				}
				used[library] = true
				if from != importer {
					t.Errorf("%s imports %s: only %s does", from, imported, importer)
				}
			}
		}
	}
	for library, importer := range only {
		if !used[library] {
			t.Errorf("%s is not imported by %s: mend this list", library, importer)
		}
	}
}

// hidden are packages of the standard library whose names we take all the same.
var hidden = map[string]string{
	"debug/buildinfo": "it reads the files of other programs, which no package here does",
	"embed":           "the word for writing metadata into a file; the processor embeds no files of its own",
}

// TestPackageNames holds that no two packages share a name and none hides one
// of the standard library, so that no import needs another name.
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
