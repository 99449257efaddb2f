package connect

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/tlstest"
)

func TestTrust(t *testing.T) {
	load := func(file string) (Config, error) {
		return service.Load([]string{"TLS_CA_FILE=" + file}, func(c *Config) error { return c.Validate() })
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{empty: "TLS_CA_FILE: want certificates in PEM", empty + "x": "TLS_CA_FILE: open "} {
		if _, err := load(file); err == nil || strings.Count(err.Error(), want) != 1 {
			t.Errorf("%s: got %v, want one %q", file, err, want)
		}
	}
	if c, err := load(tlstest.NewAuthority(t).File()); err != nil {
		t.Error(err)
	} else if roots, err := c.Roots(); roots == nil || err != nil {
		t.Errorf("roots %v, %v", roots, err)
	}
	if roots, err := (service.TrustConfig{}).Roots(); roots != nil || err != nil {
		t.Errorf("without a file: %v, %v", roots, err)
	}
}
