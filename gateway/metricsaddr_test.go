package gateway_test

import "testing"

// TestAdminAddress verifies that with a METRICS_ADDR, HTTP_ADDR does not serve the
// metrics and the state of the gateway.
func TestAdminAddress(t *testing.T) {
	for name, c := range map[string]struct {
		environ []string
		public  int
	}{
		"none": {nil, 200}, "its own": {[]string{"METRICS_ADDR=127.0.0.1:0"}, 404},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := start(t, c.environ...)
			for _, path := range []string{"/metrics", "/readyz", "/healthz"} {
				if resp, _ := ask(t, secure(t, nil), "GET", "http://"+s.Addr().String()+path, ""); resp.StatusCode != c.public {
					t.Errorf("%s on HTTP_ADDR: got %s, want %d", path, resp.Status, c.public)
				}
			}
		})
	}
}
