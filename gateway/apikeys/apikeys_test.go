package apikeys

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
)

func TestNew(t *testing.T) {
	var out, complaints bytes.Buffer
	if code := Main([]string{"new", "anna"}, &out, &complaints); code != 0 || complaints.Len() > 0 {
		t.Fatalf("exit %d: %s", code, complaints.String())
	}
	key, line, ok := strings.Cut(strings.TrimPrefix(out.String(), "key:  "), "\nline: ")
	if !ok {
		t.Fatalf("unexpected output %q", out.String())
	}
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	ring, err := apikey.Open(path, apikey.Limits{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if k := ring.Find(key); k == nil || k.Name != "anna" {
		t.Errorf("got key %+v, want one of anna", k)
	}
}

func TestInvalidArguments(t *testing.T) {
	for _, args := range [][]string{nil, {"new"}, {"old", "anna"}, {"new", "anna", "bert"}, {"new", "two words"}, {"help"}} {
		var out, complaints bytes.Buffer
		if code := Main(args, &out, &complaints); code != 2 || out.Len() > 0 || complaints.Len() == 0 {
			t.Errorf("%q: exit %d, %q, %q; want exit 2 and only an error", args, code, out.String(), complaints.String())
		}
	}
}
