package deadletters

import (
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/tlstest"
)

// TestGatewayOverTLS verifies that the tool checks the gateway's certificate against its
// name and the configured authorities.
func TestGatewayOverTLS(t *testing.T) {
	r := setup(t)
	authority := tlstest.NewAuthority(t)
	url := "https://" + authority.Front(strings.TrimPrefix(r.url, "http://"))
	for name, c := range map[string]struct {
		authority *tlstest.Authority
		want      string
	}{
		"its own":   {authority, ""},
		"another's": {tlstest.NewAuthority(t), "unknown authority"},
	} {
		config, err := service.Load([]string{"GATEWAY_URL=" + url, "TLS_CA_FILE=" + c.authority.File(), "TLS_CERT_FILE=x"}, (*Config).complete)
		r.must(err)
		transport, err := config.transport()
		r.must(err)
		gateway := newClient(config.GatewayURL.Reveal(), r.key)
		gateway.http.Transport = transport
		_, err = gateway.Job(t.Context(), "550e8400-e29b-41d4-a716-446655440000") // an unknown job is not an error
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s authority: %v, want %q", name, err, c.want)
		}
		transport.CloseIdleConnections()
	}
	_, err := service.Load([]string{"HTTP_ADDR=:1", "TLS_CERT_FILE=x"}, (*Config).complete)
	if err == nil || !strings.Contains(err.Error(), "GATEWAY_URL: want https://") {
		t.Errorf("without GATEWAY_URL: got %v, want an error", err)
	}
}

// TestGatewayBelowAPath verifies that the tool finds the gateway of this machine below its
// base path.
func TestGatewayBelowAPath(t *testing.T) {
	c, err := service.Load([]string{"HTTP_ADDR=:8090", "BASE_PATH=/team/images"}, (*Config).complete)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.GatewayURL.Reveal(); got != "http://127.0.0.1:8090/team/images" {
		t.Errorf("the gateway's URL is %s", got)
	}
}
