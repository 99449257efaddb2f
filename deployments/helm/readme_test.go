package helm

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v4/pkg/chart/v2/loader"

	"github.com/imagebatch/imagebatch/shared/buildinfo"
)

var update = flag.Bool("update", false, "write the table of values into the README")

// TestReadmeValues verifies that the README's table matches values.yaml, including its
// comments; -update writes it.
func TestReadmeValues(t *testing.T) {
	const file = chartFolder + "/README.md"
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(read(t, chartFolder+"/values.yaml")), &document); err != nil {
		t.Fatal(err)
	}
	table := "| Value | Default | |\n|---|---|---|\n"
	listed := map[string]bool{}
	for _, row := range rows("", "", document.Content[0]) {
		// A row that an earlier service has as well is listed once.
		likeGateway := strings.NewReplacer("| `analyzer.", "| `gateway.", "| `captioner.", "| `gateway.", "| `processor.", "| `gateway.").Replace(row)
		likeAnalyzer := strings.NewReplacer("| `processor.", "| `analyzer.", "| `captioner.", "| `analyzer.").Replace(row)
		bare := strings.HasSuffix(row, "|  |\n")
		if listed[likeGateway] || listed[likeAnalyzer] || bare && (listed[setting(likeGateway)] || listed[setting(likeAnalyzer)]) {
			continue
		}
		listed[row], listed[setting(row)] = true, true
		table += row
	}
	text := read(t, file)
	marks := regexp.MustCompile(`(?s)(<!-- values -->\n).*(<!-- end of values -->\n)`)
	whole := marks.ReplaceAllLiteralString(text, "<!-- values -->\n"+table+"<!-- end of values -->\n")
	if whole == text {
		return
	}
	if !*update {
		t.Fatal("the table differs from values.yaml; run: go test -run TestReadmeValues -update")
	}
	if err := os.WriteFile(file, []byte(whole), 0o644); err != nil { //nolint:gosec // The mode that git sets.
		t.Fatal(err)
	}
}

// rows returns the rows of the leaves below a mapping. The first leaf of a group without a
// comment of its own gets the group's comment.
func rows(prefix, above string, mapping *yaml.Node) []string {
	var list []string
	for i := 0; i < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		about := oneLine(key.HeadComment)
		if about == "" && i == 0 {
			about = above
		}
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 && value.Style&yaml.FlowStyle == 0 {
			list = append(list, rows(prefix+key.Value+".", about, value)...)
			continue
		}
		list = append(list, fmt.Sprintf("| `%s%s` | `%s` | %s |\n", prefix, key.Value, inline(value), strings.ReplaceAll(about, "|", "\\|")))
	}
	return list
}

// setting returns the name and the default of a row.
func setting(row string) string {
	cells := strings.SplitN(row, "|", 4)
	return strings.Join(cells[:3], "|")
}

// oneLine returns a comment as one line. It omits the part above an empty line, which
// describes the file or a group.
func oneLine(comment string) string {
	if i := strings.LastIndex(comment, "\n\n"); i >= 0 {
		comment = comment[i+2:]
	}
	var lines []string
	for line := range strings.Lines(comment) {
		lines = append(lines, strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "#")))
	}
	return strings.Join(lines, " ")
}

// inline formats a value on one line.
func inline(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		var fields []string
		for i := 0; i < len(n.Content); i += 2 {
			fields = append(fields, n.Content[i].Value+": "+inline(n.Content[i+1]))
		}
		if len(fields) == 0 {
			return "{}"
		}
		return "{ " + strings.Join(fields, ", ") + " }"
	case yaml.SequenceNode:
		var items []string
		for _, item := range n.Content {
			items = append(items, inline(item))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	if n.Tag == "!!str" && (n.Value == "" || n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0) {
		return fmt.Sprintf("%q", n.Value)
	}
	return n.Value
}

// TestVersion verifies that the chart has the version of the programs.
func TestVersion(t *testing.T) {
	if m := loadChart(t).Metadata; m.Version != buildinfo.Version || m.AppVersion != buildinfo.Version {
		t.Errorf("the chart has version %s and appVersion %s, want %s", m.Version, m.AppVersion, buildinfo.Version)
	}
}

// TestReadmeExamples renders the values of the README's examples.
func TestReadmeExamples(t *testing.T) {
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(read(t, chartFolder+"/README.md"), -1) {
		v, err := loader.LoadValues(strings.NewReader(block[1]))
		if err != nil {
			t.Fatalf("%v in\n%s", err, block[1])
		}
		if _, err := render(t, v); err != nil {
			t.Errorf("%v with\n%s", err, block[1])
		}
	}
}
