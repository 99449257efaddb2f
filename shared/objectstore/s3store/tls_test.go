package s3store

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/tlstest"
)

// TestTLS uses a server whose certificate is not signed by a public authority.
func TestTLS(t *testing.T) {
	authority := tlstest.NewAuthority(t)
	c := configOf(t, "TEST_S3")
	c.Endpoint = "https://" + authority.Front(strings.TrimPrefix(c.Endpoint, "http://"))

	c.Roots = authority.Pool()
	s := opened(t, c, standard)
	if err := s.Put(t.Context(), "a/b", objectstore.Content{Data: []byte("over TLS"), Type: "text/plain"}); err != nil {
		t.Fatal(err)
	}
	o, err := s.Get(t.Context(), "a/b")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Body.Close()
	if got, err := io.ReadAll(o.Body); err != nil || string(got) != "over TLS" {
		t.Errorf("%q, %v", got, err)
	}

	c.Roots = tlstest.NewAuthority(t).Pool()
	untrusting := opened(t, c, standard)
	for name, call := range map[string]func(context.Context) error{
		"Ready": untrusting.Ready,
		"Put": func(ctx context.Context) error {
			return untrusting.Put(ctx, "a/b", objectstore.Content{Data: nil, Type: "text/plain"})
		},
	} {
		err := call(t.Context())
		if err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
			t.Errorf("%s = %v, want an error about the unknown authority", name, err)
		}
		if name == "Put" && !errors.Is(err, objectstore.ErrUnavailable) {
			t.Errorf("%s = %v, want ErrUnavailable", name, err)
		}
	}
}
