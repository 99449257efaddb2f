package describe

import (
	"bytes"
	"encoding/json"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// analysisSchema is the published schema of the analyzer's metadata, read once for all tests.
var analysisSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	return jsonschema.NewCompiler().Compile("../../../docs/metadata.schema.json#/$defs/analysis")
})

func checkSchema(t testing.TB, m pipeline.Metadata) {
	t.Helper()
	schema, err := analysisSchema()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(v); err != nil {
		t.Errorf("the record violates its schema: %v\n%s", err, text)
	}
	if len(text) > pipeline.MaxMetadataBytes {
		t.Errorf("%d bytes of metadata", len(text))
	}
}
