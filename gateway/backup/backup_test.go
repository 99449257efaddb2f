package backup

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/job/sqlstore"
)

// TestBackupAndRestore backs up the job store while the gateway runs, and restores it
// after the gateway has stopped.
func TestBackupAndRestore(t *testing.T) {
	data := t.TempDir()
	environ := []string{"DATA_DIR=" + data}
	store, err := sqlstore.OpenSQLite(t.Context(), filepath.Join(data, "jobs.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "jobs.backup")
	var out, complaints bytes.Buffer
	if code := Main(t.Context(), []string{file}, environ, &out, &complaints); code != 0 || !strings.HasPrefix(out.String(), "copied 0 jobs with 0 open images to "+file+", ") {
		t.Errorf("exit %d: %s%s", code, &out, &complaints)
	}
	if code := Main(t.Context(), []string{file}, environ, &out, &complaints); code != 1 || !strings.Contains(complaints.String(), "exists") {
		t.Errorf("onto an existing file: exit %d: %s", code, &complaints)
	}
	if code := Restore(t.Context(), []string{file}, environ, &out, &complaints); code != 1 || !strings.Contains(complaints.String(), "in use by another gateway") {
		t.Errorf("while a gateway runs: exit %d: %s", code, &complaints)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if code := Restore(t.Context(), []string{file}, environ, &out, &complaints); code != 0 || !strings.Contains(out.String(), "jobs.db.before-") || !strings.Contains(out.String(), "restored 0 jobs") {
		t.Errorf("exit %d: %s%s", code, &out, &complaints)
	}
}

func TestInvalidArguments(t *testing.T) {
	there := filepath.Join(t.TempDir(), "there")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for says, c := range map[string]struct{ args, environ []string }{
		"want a file name": {nil, nil},
		"gateway ":         {[]string{"a", "b"}, nil},
		"FILE":             {[]string{"-h"}, nil},
		"MAX_BATCH_IMAGES": {[]string{there}, []string{"MAX_BATCH_IMAGES=0"}},
		"PostgreSQL":       {[]string{there}, []string{"DATABASE_URL=postgres://anna:hu5h@host/jobs"}},
	} {
		var out, complaints bytes.Buffer
		for _, code := range []int{
			Main(t.Context(), c.args, c.environ, &out, &complaints), Restore(t.Context(), c.args, c.environ, &out, &complaints),
		} {
			if code != 2 || out.Len() > 0 || strings.Count(complaints.String(), says) < 1 || strings.Contains(complaints.String(), "hu5h") {
				t.Errorf("%q: exit %d, %s%s", c.args, code, &out, &complaints)
			}
		}
	}
}
