package rabbitmq_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

var update = flag.Bool("update", false, "write deployments/rabbitmq/definitions.json")

const (
	definitionsFile  = "../../../deployments/rabbitmq/definitions.json"
	definitionsVhost = "imagebatch"
)

// pipelineQueues are the work queues of the services.
var pipelineQueues = pipeline.WorkQueues()

// definitions is a definitions file that RabbitMQ imports.
type definitions struct {
	Vhosts      []map[string]string `json:"vhosts"`
	Permissions []permissions       `json:"permissions"`
	Queues      []definition        `json:"queues"`
	Exchanges   []definition        `json:"exchanges"`
	Bindings    []binding           `json:"bindings"`
}

type permissions struct {
	User      string `json:"user"`
	Vhost     string `json:"vhost"`
	Configure string `json:"configure"`
	Write     string `json:"write"`
	Read      string `json:"read"`
}

type definition struct {
	Name       string         `json:"name"`
	Vhost      string         `json:"vhost"`
	Type       string         `json:"type,omitempty"`
	Durable    bool           `json:"durable"`
	AutoDelete bool           `json:"auto_delete"`
	Internal   *bool          `json:"internal,omitempty"`
	Arguments  map[string]any `json:"arguments"`
}

type binding struct {
	Source          string         `json:"source"`
	Vhost           string         `json:"vhost"`
	Destination     string         `json:"destination"`
	DestinationType string         `json:"destination_type"`
	RoutingKey      string         `json:"routing_key"`
	Arguments       map[string]any `json:"arguments"`
}

// TestDefinitions verifies that the file that operators import equals the declarations
// of a gateway, with the permissions that docs/operations.md lists for that case.
func TestDefinitions(t *testing.T) {
	d := definitions{Vhosts: []map[string]string{{"name": definitionsVhost}}}
	for _, p := range documented(t)[3:] {
		d.Permissions = append(d.Permissions, permissions{p[1], p[0], p[2], p[3], p[4]})
	}
	exchange := func(name string) {
		d.Exchanges = append(d.Exchanges, definition{
			Name: name, Vhost: definitionsVhost, Type: "fanout", Durable: true, Internal: new(bool), Arguments: map[string]any{},
		})
	}
	for _, spec := range broker.Topology(pipelineQueues...) {
		d.Queues = append(d.Queues, definition{Name: spec.Name, Vhost: definitionsVhost, Durable: true, Arguments: rabbitmq.Arguments(spec)})
		if spec.Name != broker.DeadQueue(spec.Work) {
			continue
		}
		exchange(spec.Name)
		for _, queue := range []string{spec.Name, broker.DeadResults} {
			d.Bindings = append(d.Bindings, binding{
				Source: spec.Name, Vhost: definitionsVhost, Destination: queue, DestinationType: "queue", Arguments: map[string]any{},
			})
		}
	}
	exchange(pipeline.JobEvents)

	var want bytes.Buffer
	e := json.NewEncoder(&want)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(definitionsFile, want.Bytes(), 0o644); err != nil { //nolint:gosec // It is part of the repository.
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(definitionsFile); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s differs from the gateway's declarations (%v); run go test -run TestDefinitions -update", definitionsFile, err)
	}
}

// documented returns the permissions in docs/operations.md: vhost, user, configure,
// write, read, for the three services with a gateway that declares and for the three
// with a gateway that does not.
func documented(t *testing.T) [][]string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	joined := strings.ReplaceAll(string(text), "\\\n", " ")
	var list [][]string
	for _, m := range regexp.MustCompile(`(?m)^rabbitmqctl set_permissions --vhost (\S+) (\S+)\s+'(.*)'\s+'(.*)'\s+'(.*)'$`).FindAllStringSubmatch(joined, -1) {
		list = append(list, m[1:])
	}
	if len(list) != 6 {
		t.Fatalf("docs/operations.md has %d commands that set permissions, want 6", len(list))
	}
	return list
}
