package s3store

import (
	"errors"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

func expectUnavailable(t *testing.T, err error, text string) {
	t.Helper()
	if !errors.Is(err, objectstore.ErrUnavailable) || errors.Is(err, objectstore.ErrNotExist) {
		t.Errorf("got error %v, want ErrUnavailable", err)
	} else if !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want it to say %q", err, text)
	}
}
