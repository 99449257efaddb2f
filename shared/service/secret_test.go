package service

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// TestSecretsAreHidden verifies that a secret stays hidden however its struct is printed,
// logged or encoded. (%p is left out: it is for pointers only, and go vet rejects it.)
func TestSecretsAreHidden(t *testing.T) {
	const hush = "hu5h"
	type config struct {
		Key  Secret
		URLs []SecretURL
	}
	c := config{hush, []SecretURL{"amqp://anna:hu5h@host/"}}
	var text strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		for _, value := range []any{c, &c, c.Key, &c.Key, c.URLs, c.URLs[0]} {
			fmt.Fprintf(&text, verb+"\n", value)
		}
	}
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&text, nil), slog.NewTextHandler(&text, nil)} {
		slog.New(handler).Info("started", "config", c, "key", c.Key, "urls", c.URLs)
	}
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	text.Write(encoded)
	fmt.Fprint(&text, fmt.Errorf("connect %v with %v", c.URLs[0], c.Key))
	if got := text.String(); strings.Contains(got, hush) || strings.Contains(got, "68753568") || !strings.Contains(got, "anna") {
		t.Errorf("the output contains the secret, or lacks the user name:\n%s", got)
	}
	if c.Key.Reveal() != hush || c.URLs[0].Reveal() != "amqp://anna:hu5h@host/" {
		t.Errorf("revealed %q and %q, want %v and \"amqp://anna:hu5h@host/\"", c.Key.Reveal(), c.URLs[0].Reveal(), hush)
	}
	if got := fmt.Sprint(Secret("")); got != "" {
		t.Errorf("an empty secret is shown as %q, want \"\"", got)
	}
}

func TestSecretURL(t *testing.T) {
	for url, want := range map[string]string{
		"amqp://guest:guest@127.0.0.1:5672/":                          "amqp://guest:xxxxx@127.0.0.1:5672/",
		"amqps://anna:p%40ss@host/vhost?heartbeat=10&password=p":      "amqps://anna:xxxxx@host/vhost?heartbeat=10&xxxxx",
		"postgres://anna@a,b:5432/jobs?sslmode=verify-full":           "postgres://anna@a,b:5432/jobs?sslmode=verify-full",
		"postgres://host/jobs?user=anna&password=s3&sslpassword=s3":   "postgres://host/jobs?xxxxx&xxxxx&xxxxx",
		"postgres://host/jobs?s3cr%20t":                               "postgres://host/jobs?xxxxx",
		"https://token:@host":                                         "https://token:xxxxx@host",
		"http://127.0.0.1:9000":                                       "http://127.0.0.1:9000",
		"sqlite:data/jobs.db":                                         "sqlite:data/jobs.db",
		"sqlite:/data/jobs.db":                                        "sqlite:/data/jobs.db",
		"":                                                            "",
		"postgres://anna:12?cr3t@host/jobs":                           veil,
		"postgres://anna:12#cr3t@host/jobs":                           veil,
		"postgres://anna:12/cr3t@host/jobs":                           veil,
		"postgres:anna:s3cr3t@host/jobs":                              veil,
		"postgres://anna:s3 cr3t@host/jobs":                           veil,
		"postgres://anna:s3%zzt@host/jobs":                            veil,
		"postgres://host/jobs?target_session_attrs=read-write&x=y&z=": "postgres://host/jobs?target_session_attrs=read-write&xxxxx&xxxxx",
	} {
		if got := fmt.Sprint(SecretURL(url)); got != want {
			t.Errorf("%s is shown as %s, want %s", url, got, want)
		}
	}
}
