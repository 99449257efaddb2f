package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/analyzer"
	"github.com/imagebatch/imagebatch/gateway"
	"github.com/imagebatch/imagebatch/processor"
	"github.com/imagebatch/imagebatch/shared/connect"
	"github.com/imagebatch/imagebatch/shared/tlstest"
)

// errStarted is the error of a start that got past everything that could be wrong.
var errStarted = errors.New("started")

// starts start a program and end it again. They return why it did not start, or
// errStarted.
var starts = map[string]func(ctx context.Context, environ []string) error{
	"gateway": func(ctx context.Context, environ []string) error {
		return connect.Run(ctx, connect.Process{Name: "gateway", Declares: true}, environ, func(ctx context.Context, c gateway.Config, s *connect.Servers) (connect.Runner, error) {
			service, err := gateway.New(ctx, c, gateway.Deps{Broker: s.Broker, Browser: s.Browser, Originals: s.Originals, Processed: s.Processed, Log: s.Log, Metrics: s.Metrics})
			if err != nil {
				return nil, err
			}
			return ended{service}, nil
		})
	},
	"analyzer": func(ctx context.Context, environ []string) error {
		return connect.Run(ctx, connect.Process{Name: "analyzer"}, environ, func(ctx context.Context, c analyzer.Config, s *connect.Servers) (connect.Runner, error) {
			service, err := analyzer.New(ctx, c, analyzer.Deps{Broker: s.Broker, Originals: s.Originals, Log: s.Log, Metrics: s.Metrics})
			return ended{service}, err
		})
	},
	"processor": func(ctx context.Context, environ []string) error {
		return connect.Run(ctx, connect.Process{Name: "processor"}, environ, func(ctx context.Context, c processor.Config, s *connect.Servers) (connect.Runner, error) {
			service, err := processor.New(ctx, c, processor.Deps{Broker: s.Broker, Originals: s.Originals, Processed: s.Processed, Log: s.Log, Metrics: s.Metrics})
			return ended{service}, err
		})
	},
	"standalone": func(ctx context.Context, environ []string) error {
		s, err := newStandalone(ctx, environ, io.Discard)
		if err != nil {
			return err
		}
		return ended{s}.Run(ctx)
	},
}

// ended is a service whose context has ended when it runs.
type ended struct{ connect.Runner }

func (e ended) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return errors.Join(errStarted, e.Runner.Run(ctx))
}

// configs are what the command config does in each program.
var configs = map[string]func(environ []string) (any, error){
	"gateway": connect.Effective[gateway.Config], "analyzer": connect.Effective[analyzer.Config], "processor": connect.Effective[processor.Config], "standalone": effective,
}

// TestConfigRejectsWhatTheStartRejects verifies for one mistake at a time that the command
// config and the start of a program return the same text, which names the variable.
func TestConfigRejectsWhatTheStartRejects(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	authority := tlstest.NewAuthority(t)
	cert, key := authority.Issue()
	_, anotherKey := authority.Issue()
	file, certFile, keyFile, anotherKeyFile := write("file", []byte("text")), write("cert", cert), write("key", key), write("another key", anotherKey)

	const everywhere, servers, public = "gateway analyzer processor standalone", "gateway analyzer processor", "gateway standalone"
	for _, c := range []struct {
		programs string
		want     string   // start of a line of the error
		environ  []string // separated mistakes of one kind, each a list of assignments separated by a line break
	}{
		{everywhere, "HTTP_ADDR: ", []string{"HTTP_ADDR=8080", "HTTP_ADDR=localhost", "HTTP_ADDR=:99999", "HTTP_ADDR=:-1", "HTTP_ADDR=:web server", "HTTP_ADDR=http://127.0.0.1:8080", "HTTP_ADDR=[::1", "HTTP_ADDR=192.0.2.1:8080"}},
		{everywhere, "METRICS_ADDR: ", []string{"METRICS_ADDR=9090", "METRICS_ADDR=:99999", "METRICS_ADDR=192.0.2.1:9090"}},
		{public, `METRICS_ADDR "`, []string{"HTTP_ADDR=127.0.0.1:18080\nMETRICS_ADDR=127.0.0.1:18080", "HTTP_ADDR=:18080\nMETRICS_ADDR=127.0.0.1:18080"}},
		{everywhere, "LOG_LEVEL ", []string{"LOG_LEVEL=loud"}},
		{everywhere, "LOG_FORMAT ", []string{"LOG_FORMAT=xml"}},
		{everywhere, "OTEL_EXPORTER_OTLP_ENDPOINT: ", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=jaeger:4318", "OTEL_EXPORTER_OTLP_ENDPOINT=grpc://jaeger:4317"}},
		{everywhere, "OTEL_TRACES_SAMPLER ", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1\nOTEL_TRACES_SAMPLER=some"}},
		{everywhere, "TLS_CA_FILE: ", []string{"TLS_CA_FILE=" + file, "TLS_CA_FILE=" + file + "x", "TLS_CA_FILE=" + dir}},
		{everywhere, "CONCURRENCY", []string{"CONCURRENCY=-1", "CONCURRENCY=many"}},
		{everywhere, "LOG_LEVEL_FILE: ", []string{"LOG_LEVEL_FILE=" + file + "x"}},
		{servers, "RABBITMQ_URL: ", []string{"RABBITMQ_URL=http://rabbit", "RABBITMQ_URL=rabbit:5672", "RABBITMQ_URL=amqp://", "RABBITMQ_URL=amqp://rabbit:port/", "RABBITMQ_URL=amqp://rabbit/?heartbeat=often", "RABBITMQ_URL=amqp://rabbit/?channel_max=-1", "RABBITMQ_URL=amqp://rabbit/ ,amqp://other/"}},
		{servers, "S3_ENDPOINT ", []string{"S3_ENDPOINT=s3:9000", "S3_ENDPOINT=ftp://s3", "S3_ENDPOINT=http://s3:9000/bucket", "S3_ENDPOINT=http://s3:9000?x=y", "S3_ENDPOINT=http://anna@s3:9000", "S3_ENDPOINT=http://s3_server!", "S3_ENDPOINT=https://bucket.s3.amazonaws.com"}},
		{servers, "S3_ACCESS_KEY and S3_SECRET_KEY: ", []string{"S3_ACCESS_KEY=anna", "S3_SECRET_KEY=secret"}},
		{servers, "S3_BUCKET_ORIGINAL ", []string{"S3_BUCKET_ORIGINAL=a", "S3_BUCKET_ORIGINAL=Originals", "S3_BUCKET_ORIGINAL=original/folder", "S3_BUCKET_ORIGINAL=10.0.0.1"}},
		{servers, "S3_BUCKET_PROCESSED ", []string{"S3_BUCKET_PROCESSED=a"}},
		{servers, "S3_PREFIX_ORIGINAL ", []string{"S3_PREFIX_ORIGINAL=/x/", "S3_PREFIX_ORIGINAL=a//b", "S3_PREFIX_ORIGINAL=../"}},
		{servers, "S3_PREFIX_PROCESSED ", []string{"S3_PREFIX_PROCESSED=/x/"}},
		{servers, "S3_BUCKET_ORIGINAL and S3_BUCKET_PROCESSED: ", []string{"S3_BUCKET_ORIGINAL=one\nS3_BUCKET_PROCESSED=one"}},
		{servers, "AWS_ENDPOINT_URL_STS: ", []string{"AWS_ENDPOINT_URL_STS=sts"}},
		{public, "DATABASE_URL: ", []string{
			"DATABASE_URL=mysql://db/jobs", "DATABASE_URL=sqlite:", "DATABASE_URL=jobs.db", "DATABASE_URL=sqlite:" + dir, "DATABASE_URL=sqlite:" + file + "/jobs.db", "DATABASE_URL=postgres://db:port/jobs",
			"DATABASE_URL=postgres://db/jobs?sslmode=some", "DATABASE_URL=postgres://db/jobs?sslmode=verify-full&sslrootcert=" + file + "x",
		}},
		{public, "DATA_DIR: ", []string{"DATA_DIR=" + file, "DATA_DIR=" + file + "/data"}},
		{"standalone", "DATA_DIR: ", []string{"DATABASE_URL=sqlite:" + dir + "/jobs.db\nDATA_DIR=" + file}},
		{public, "TLS_CERT_FILE and TLS_KEY_FILE: ", []string{
			"TLS_CERT_FILE=" + certFile, "TLS_KEY_FILE=" + keyFile, "TLS_CERT_FILE=" + certFile + "x\nTLS_KEY_FILE=" + keyFile, "TLS_CERT_FILE=" + file + "\nTLS_KEY_FILE=" + keyFile,
			"TLS_CERT_FILE=" + certFile + "\nTLS_KEY_FILE=" + anotherKeyFile,
		}},
		{public, "API_KEYS_FILE: ", []string{"API_KEYS_FILE=" + file, "API_KEYS_FILE=" + file + "x", "API_KEYS_FILE=" + dir}},
		{public, "WEBHOOKS_FILE: ", []string{"WEBHOOKS_FILE=" + certFile, "WEBHOOKS_FILE=" + file + "x", "WEBHOOKS_FILE=" + dir}},
		{public, "GRAFANA_URL: ", []string{"GRAFANA_URL=grafana", "GRAFANA_URL=grafana:3000", "GRAFANA_URL=/grafana", "GRAFANA_URL=javascript:alert(1)", "GRAFANA_URL=https://:3000/", "GRAFANA_URL=https://anna:secret@grafana/", "GRAFANA_URL=https://grafana/%"}},
		{public, "RABBITMQ_MANAGEMENT_URL: ", []string{"RABBITMQ_MANAGEMENT_URL=amqp://rabbit/", "RABBITMQ_MANAGEMENT_URL=http://guest@rabbit:15672/"}},
		{public, `WEBHOOK_ALLOW_NETWORKS "`, []string{"WEBHOOK_ALLOW_NETWORKS=10.0.0.1"}},
		{public, `ALLOWED_ORIGINS "`, []string{"ALLOWED_ORIGINS=*", "ALLOWED_ORIGINS=app.example.com", "ALLOWED_ORIGINS=https://app.example.com/path", "ALLOWED_ORIGINS=https://app.*.example.com", "ALLOWED_ORIGINS=https://app:0", "ALLOWED_ORIGINS=null", "ALLOWED_ORIGINS=https://app.example.com,"}},
		{public, `ALLOWED_HOSTS "`, []string{"ALLOWED_HOSTS=https://images.lan", "ALLOWED_HOSTS=images.lan,"}},
		{public, `TRUSTED_PROXIES "`, []string{"TRUSTED_PROXIES=proxy.lan", "TRUSTED_PROXIES=10.0.0.0/33", "TRUSTED_PROXIES=10.0.0.1,"}},
		{public, `BASE_PATH "`, []string{"BASE_PATH=images", "BASE_PATH=/images/", "BASE_PATH=/", "BASE_PATH=/healthz", "BASE_PATH=https://example.com/images"}},
		{public, "KEEP_ALIVE_TIMEOUT ", []string{"KEEP_ALIVE_TIMEOUT=0s", "KEEP_ALIVE_TIMEOUT=-1s", "KEEP_ALIVE_TIMEOUT=620"}},
		{public, "WS_IDLE_TIMEOUT ", []string{"WS_IDLE_TIMEOUT=0s", "WS_IDLE_TIMEOUT=1"}},
		{public, "WS_PING_INTERVAL ", []string{"WS_PING_INTERVAL=26s", "WS_PING_INTERVAL=-1s", "WS_PING_INTERVAL=1ms", "WS_IDLE_TIMEOUT=10s\nWS_PING_INTERVAL=5s"}},
		{public, "MAX_CONNECTIONS ", []string{"MAX_CONNECTIONS=0"}},
		{public, "DRAIN_DELAY ", []string{"DRAIN_DELAY=16s"}},
		{public, `DOWNLOAD_ALLOW_HOSTS "`, []string{"DOWNLOAD_ALLOW_HOSTS=https://example.com"}},
		{public, `DOWNLOAD_ALLOW_NETWORKS "`, []string{"DOWNLOAD_ALLOW_NETWORKS=10.0.0.1"}},
		{public, `RESULT_RETENTION "`, []string{"RESULT_RETENTION=forever"}},
		{"analyzer standalone", "METADATA_GPS: ", []string{"METADATA_GPS=some"}},
		{"gateway analyzer standalone", "CAPTION_URL: ", []string{
			"CAPTION_URL=ollama:11434\nCAPTION_MODEL=m", "CAPTION_URL=ftp://ollama\nCAPTION_MODEL=m", "CAPTION_URL=http://ollama/v1/chat/completions\nCAPTION_MODEL=m", "CAPTION_URL=http://:80/v1\nCAPTION_MODEL=m",
		}},
		{public, `CAPTION_RETENTION "`, []string{"CAPTION_RETENTION=forever", "CAPTION_RETENTION=0s", "CAPTION_RETENTION=30"}},
		{"gateway analyzer standalone", "CAPTION_MODEL: ", []string{"CAPTION_URL=http://ollama/v1", "CAPTION_MODEL=a,,b", "CAPTION_MODEL=a, a", "CAPTION_MODEL=1,2,3,4,5,6,7,8,9"}},
		{"analyzer standalone", "CAPTION_API_KEY: ", []string{"CAPTION_API_KEY=two words", "CAPTION_API_KEY=schlüssel"}},
		{"analyzer standalone", "CAPTION_LANGUAGE ", []string{"CAPTION_LANGUAGE=English", "CAPTION_LANGUAGE=e", "CAPTION_LANGUAGE=en;de"}},
		{"analyzer standalone", "CAPTION_FIELDS: ", []string{"CAPTION_FIELDS=titles", "CAPTION_FIELDS=title,title", "CAPTION_FIELDS=title,"}},
		{"gateway analyzer standalone", "CAPTION_PIXELS", []string{"CAPTION_PIXELS=63", "CAPTION_PIXELS=4097", "CAPTION_PIXELS=big"}},
		{"analyzer standalone", "CAPTION_KEYWORDS: ", []string{"CAPTION_KEYWORDS=0", "CAPTION_KEYWORDS=65"}},
		{"analyzer standalone", "CAPTION_CONCURRENCY: ", []string{"CAPTION_CONCURRENCY=0", "CAPTION_CONCURRENCY=257"}},
		{"analyzer standalone", "CAPTION_REQUESTS_PER_MINUTE: ", []string{"CAPTION_REQUESTS_PER_MINUTE=-1"}},
		{"analyzer standalone", "CAPTION_REQUESTS_PER_DAY: ", []string{"CAPTION_REQUESTS_PER_DAY=-1"}},
		{"analyzer standalone", "CAPTION_MAX_TOKENS: ", []string{"CAPTION_MAX_TOKENS=49"}},
		{"analyzer standalone", "CAPTION_TIMEOUT", []string{"CAPTION_TIMEOUT=0s", "CAPTION_TIMEOUT=4m", "CAPTION_TIMEOUT=3"}},
		{"analyzer standalone", "CAPTION_MAX_WAIT", []string{"CAPTION_MAX_WAIT=0s", "CAPTION_MAX_WAIT=25h"}},
		{"analyzer standalone", "CAPTION_PROMPT_FILE: ", []string{
			"CAPTION_PROMPT_FILE=" + dir, "CAPTION_PROMPT_FILE=" + file + "x", "CAPTION_PROMPT_FILE=" + write("prompt", []byte("Describe {{.Place}}")), "CAPTION_PROMPT_FILE=" + write("open prompt", []byte("{{")),
			"CAPTION_PROMPT_FILE=" + write("empty prompt", nil),
		}},
		{"analyzer standalone", "CAPTION_EXTRA: ", []string{"CAPTION_EXTRA=[]", "CAPTION_EXTRA=null", "CAPTION_EXTRA={} {}", `CAPTION_EXTRA={"model":"x"}`, `CAPTION_EXTRA={"stream":null}`, "CAPTION_EXTRA={"}},
		{"processor standalone", "EMBED_DESCRIPTIVE: ", []string{"EMBED_DESCRIPTIVE=some"}},
	} {
		for _, mistake := range c.environ {
			for program := range strings.FieldsSeq(c.programs) {
				environ := append([]string{"HTTP_ADDR=127.0.0.1:0", "DATA_DIR=" + t.TempDir()}, strings.Split(mistake, "\n")...)
				_, config := configs[program](environ)
				start := starts[program](t.Context(), environ)
				if config == nil || !strings.Contains(config.Error(), "\n"+c.want) {
					t.Errorf("%s config, %q: got %v, want %q; the start: %v", program, mistake, config, c.want, start)
				} else if start == nil || start.Error() != config.Error() {
					t.Errorf("%s, %q: the start returns\n%v\nand config\n%v", program, mistake, start, config)
				}
			}
		}
	}
	for program, start := range starts {
		environ := []string{"HTTP_ADDR=127.0.0.1:0", "METRICS_ADDR=localhost:0", "DATA_DIR=" + filepath.Join(t.TempDir(), "new", "folder"), "TLS_CERT_FILE=" + certFile, "TLS_KEY_FILE=" + keyFile, "WS_PING_INTERVAL=25s", "LOG_LEVEL=error"}
		_, config := configs[program](environ)
		if err := start(t.Context(), environ); config != nil || !errors.Is(err, errStarted) {
			t.Errorf("%s without mistakes: config returns %v, the start %v", program, config, err)
		}
	}
}

// TestConfigOfAnAddress verifies that the programs themselves report the same mistake in
// an address, whether they check their configuration or start.
func TestConfigOfAnAddress(t *testing.T) {
	t.Parallel()
	for _, name := range programs {
		_, checked, code := command(t, []string{"HTTP_ADDR=8080"}, name, "config")
		_, started, startCode := command(t, []string{"HTTP_ADDR=8080"}, name)
		if code != 2 || startCode == 0 || checked != started || !strings.Contains(checked, "HTTP_ADDR: address 8080: missing port in address: want an address of this machine such as :8080") {
			t.Errorf("%s config exits with %d and prints\n%s\nthe start exits with %d and prints\n%s", name, code, checked, startCode, started)
		}
	}
}
