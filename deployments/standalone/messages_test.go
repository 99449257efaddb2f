package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/imagebatch/imagebatch/analyzer"
	"github.com/imagebatch/imagebatch/gateway"
	"github.com/imagebatch/imagebatch/processor"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

const messagesFile = "../../docs/asyncapi.yaml"

// messageSchemas are the schemas of the messages of docs/asyncapi.yaml, by the address of their
// channel and their name.
func messageSchemas(t *testing.T) map[string]map[string]*jsonschema.Schema {
	t.Helper()
	var doc struct {
		Channels map[string]struct {
			Address  string
			Messages map[string]struct {
				Ref string `yaml:"$ref"`
			}
		}
		Components struct {
			Messages map[string]struct {
				Name    string
				Payload struct {
					Ref string `yaml:"$ref"`
				}
			}
		}
	}
	var whole any
	text := readFile(t, messagesFile)
	if err := errors.Join(yaml.Unmarshal(text, &doc), yaml.Unmarshal(text, &whole)); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	compiler.AssertContent()
	if err := compiler.AddResource("asyncapi.json", decodedJSON(t, data)); err != nil {
		t.Fatal(err)
	}
	schemas := map[string]map[string]*jsonschema.Schema{}
	for _, channel := range doc.Channels {
		schemas[channel.Address] = map[string]*jsonschema.Schema{}
		for _, m := range channel.Messages {
			message := doc.Components.Messages[strings.TrimPrefix(m.Ref, "#/components/messages/")]
			// Readers must ignore unknown members, but this version sends only described ones.
			name := "strict " + message.Name + ".json"
			strict := map[string]any{"$ref": "asyncapi.json" + message.Payload.Ref, "unevaluatedProperties": false}
			_ = compiler.AddResource(name, strict) // it exists if two channels have the message
			schema, err := compiler.Compile(name)
			if err != nil {
				t.Fatal(err)
			}
			schemas[channel.Address][message.Name] = schema
		}
	}
	return schemas
}

// decodedJSON decodes JSON for the validator, which needs unchanged numbers.
func decodedJSON(t *testing.T, text []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v in %.2000s", err, text)
	}
	return v
}

// TestMessagesAreDescribed verifies that docs/asyncapi.yaml has exactly the queues, the topic and the
// streams of the system, and that the messages of a run match its schemas: one image is completed,
// one fails, and the processor cannot store one, which becomes a dead letter.
func TestMessagesAreDescribed(t *testing.T) {
	schemas := messageSchemas(t)
	want := []string{"/api/v1/batch/{job_id}/ws", "/api/v1/batch/{job_id}/events", pipeline.JobEvents}
	for _, queue := range pipeline.WorkQueues() {
		want = append(want, queue, broker.DeadQueue(queue))
	}
	for _, address := range want {
		if schemas[address] == nil {
			t.Errorf("%s is not in docs/asyncapi.yaml", address)
		}
	}
	if len(schemas) != len(want) {
		t.Errorf("docs/asyncapi.yaml has %d channels, want %d", len(schemas), len(want))
	}

	sent := &recordingBroker{messages: map[string][][]byte{}}
	s := recordedSystem(t, sent)
	id := s.submit(t, inline("sunrise.jpg", photo(t)), inline("cut.jpg", photo(t)[:50_000]), inline("poison.jpg", photo(t)))
	frames := frameTexts(t, s, id)
	got := s.ended(t, id)
	if got.Completed != 1 || got.Failed != 2 || got.Images[2].ErrorCode != pipeline.CodeProcessingFailed {
		t.Fatalf("job %+v, want one completed image, a damaged one and one that cannot be processed", got)
	}

	seen := map[string]int{}
	for _, text := range frames {
		var f frame
		if err := json.Unmarshal(text, &f); err != nil {
			t.Fatal(err)
		}
		seen["ws "+f.Type]++
		checkMessage(t, schemas[want[0]][f.Type], want[0], text)
	}
	var stream []byte
	s.call(t, http.MethodGet, "/api/v1/batch/"+id+"/events", nil, &stream)
	for _, m := range regexp.MustCompile(`(?m)^event: (.*)\ndata: (.*)$`).FindAllSubmatch(stream, -1) {
		seen["sse "+string(m[1])]++
		checkMessage(t, schemas[want[1]][string(m[1])], want[1], m[2])
	}
	sent.mu.Lock()
	defer sent.mu.Unlock()
	for queue, messages := range sent.messages {
		for _, text := range messages {
			seen[queue]++
			for _, schema := range schemas[queue] { // a queue has messages of one type
				checkMessage(t, schema, queue, text)
			}
		}
	}
	for _, kind := range []string{
		"ws progress", "ws image_complete", "ws job_complete", "sse progress", "sse image_complete", "sse job_complete", pipeline.JobEvents, pipeline.ImageUpload.Name, pipeline.MetadataGenerated.Name,
		pipeline.ImageProcessed.Name, broker.DeadQueue(pipeline.MetadataGenerated.Name),
	} {
		if seen[kind] == 0 {
			t.Errorf("no message of %s was sent", kind)
		}
	}
	// The golden messages, old ones too, are valid.
	for file, schema := range map[string]*jsonschema.Schema{
		"upload": schemas["image_upload"]["upload"], "removed_upload": schemas["image_upload"]["upload"], "captioned_analysis": schemas["image_described"]["analysis"], "uncaptioned": schemas["image_processed"]["result"], "analysis": schemas["metadata_generated"]["analysis"],
		"completed": schemas["image_processed"]["result"], "appearance": schemas["image_processed"]["result"], "failed": schemas["image_processed"]["result"],
	} {
		checkMessage(t, schema, file, readFile(t, "../../shared/pipeline/testdata/v1/"+file+".json"))
	}
}

func checkMessage(t *testing.T, schema *jsonschema.Schema, channel string, text []byte) {
	t.Helper()
	if schema == nil {
		t.Errorf("%s: docs/asyncapi.yaml does not describe %.2000s", channel, text)
		return
	}
	if err := schema.Validate(decodedJSON(t, text)); err != nil {
		t.Errorf("%s: %v\n%.2000s", channel, err, text)
	}
}

// recordingBroker records what is published to the queues and topics. It publishes to a work queue
// what belongs on its retry queues, so that a test need not wait.
type recordingBroker struct {
	broker.Broker
	mu       sync.Mutex // guards messages
	messages map[string][][]byte
}

func (b *recordingBroker) record(name string, body []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages[name] = append(b.messages[name], slices.Clone(body))
}

func (b *recordingBroker) Publish(ctx context.Context, queue string, m broker.Message) error {
	queue, _, _ = strings.Cut(queue, ".retry.")
	b.record(queue, m.Body)
	return b.Broker.Publish(ctx, queue, m)
}

func (b *recordingBroker) Broadcast(ctx context.Context, topic string, body []byte) error {
	b.record(topic, body)
	return b.Broker.Broadcast(ctx, topic, body)
}

// refusingStore is a store that can never store poison.jpg.
type refusingStore struct{ objectstore.Store }

func (s refusingStore) Put(ctx context.Context, key string, c objectstore.Content) error {
	if strings.HasSuffix(key, "/poison.jpg") {
		return fmt.Errorf("%s cannot be stored", key)
	}
	return s.Store.Put(ctx, key, c)
}

// recordedSystem runs the three services in this process, on the broker.
func recordedSystem(t *testing.T, sent *recordingBroker) *system {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	c, err := load([]string{"HTTP_ADDR=127.0.0.1:0", "DATA_DIR=" + t.TempDir(), "LOG_LEVEL=error"})
	if err != nil {
		t.Fatal(err)
	}
	s := &standalone{scheme: "http", metrics: telemetry.NewRegistry()}
	if s.log, err = c.Gateway.Logger(io.Discard); err != nil {
		t.Fatal(err)
	}
	memory, err := membroker.Open(filepath.Join(c.Gateway.DataDir, "in-hand"), pipeline.WorkQueues()...)
	if err != nil {
		t.Fatal(err)
	}
	s.parts.Add("broker", memory.Close)
	sent.Broker = memory
	originals, err := s.openStore(filepath.Join(c.Gateway.DataDir, "original"))
	if err != nil {
		t.Fatal(err)
	}
	stored, err := s.openStore(filepath.Join(c.Gateway.DataDir, "processed"))
	if err != nil {
		t.Fatal(err)
	}
	processed := refusingStore{stored}
	if s.gateway, err = gateway.New(ctx, c.Gateway, gateway.Deps{Broker: sent, Originals: originals, Processed: processed, Log: s.log, Metrics: s.metrics}); err != nil {
		t.Fatal(err)
	}
	if s.analyzer, err = analyzer.New(ctx, c.Analyzer, analyzer.Deps{Broker: sent, Originals: originals, Log: s.log, Metrics: s.metrics}); err != nil {
		t.Fatal(err)
	}
	if s.processor, err = processor.New(ctx, c.Processor, processor.Deps{Broker: sent, Originals: originals, Processed: processed, Log: s.log, Metrics: s.metrics}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return &system{process: &process{t: t, addr: s.Addr().String()}}
}
