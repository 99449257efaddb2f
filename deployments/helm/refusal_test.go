package helm

import (
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
)

// TestLint verifies that `helm lint` reports no warnings for the chart's own values and
// for each example.
func TestLint(t *testing.T) {
	for _, files := range [][]string{nil, {"minimal"}, {"large"}, {"tls"}} {
		result := lint.RunAll(chartFolder, values(t, files), "images")
		for _, m := range result.Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%q: %s", files, m)
			}
		}
	}
}

// TestRefusals verifies that the chart rejects invalid values and names them.
func TestRefusals(t *testing.T) {
	for _, c := range []struct{ set, why string }{
		// Rejected by the schema.
		{"gateway.replicas=2", "/gateway/replicas"},
		{"database.kind=mysql", "/database/kind"},
		{"gateway.replica=2", "'replica'"},
		{"gateway.env.MAX_OPEN_IMAGE=5", "'MAX_OPEN_IMAGE'"},
		{"gateway.env.MAX_BATCH_IMAGES=101", "/gateway/env/MAX_BATCH_IMAGES"},
		{"gateway.env.DRAIN_DELAY=16s", "/gateway/env/DRAIN_DELAY"},
		{"gateway.env.UPLOAD_STALL_TIMEOUT=11m", "/gateway/env/UPLOAD_STALL_TIMEOUT"},
		{"gateway.env.RABBITMQ_URL=amqp://user:password@rabbitmq/", "'RABBITMQ_URL'"},
		{"gateway.env.JOB_RETENTION=1d", "/gateway/env/JOB_RETENTION"},
		{"gateway.env.GRAFANA_URL=https://anna:secret@grafana/", "/gateway/env/GRAFANA_URL"},
		{"gateway.env.DOWNLOAD_ALLOW_NETWORKS=everywhere", "/gateway/env/DOWNLOAD_ALLOW_NETWORKS"},
		{"analyzer.env.METADATA_GPS=remove", "/analyzer/env/METADATA_GPS"},
		{"analyzer.env.EMBED_SIGNED=true", "'EMBED_SIGNED'"},
		{"processor.env.EMBED_SIGNED=perhaps", "/processor/env/EMBED_SIGNED"},
		{"env.LOG_LEVEL=loud", "/env/LOG_LEVEL"},
		{"extraEnv[0].name=S3_SECRET_KEY,extraEnv[0].value=secret", "/extraEnv/0"},
		{"gateway.extraEnv[0].name=DATABASE_URL,gateway.extraEnv[0].value=postgres://user:secret@db/jobs", "/gateway/extraEnv/0"},
		{"extraEnv[0].name=OTEL_EXPORTER_OTLP_HEADERS,extraEnv[0].value=key", "/extraEnv/0"},
		{"env.OTEL_TRACES_SAMPLER=some", "/env/OTEL_TRACES_SAMPLER"},
		{"env.OTEL_TRACES_SAMPLER_ARG=2", "/env/OTEL_TRACES_SAMPLER_ARG"},
		{"env.AWS_ENDPOINT_URL_STS=sts.example.com", "/env/AWS_ENDPOINT_URL_STS"},
		{"s3.endpoint=s3.example.com", "/s3/endpoint"},
		{"keda.managementURL=http://user:password@rabbitmq:15672/", "/keda/managementURL"},
		{"gateway.terminationGracePeriodSeconds=25", "/gateway/terminationGracePeriodSeconds"},
		{"analyzer.autoscaling.minReplicas=0", "/analyzer/autoscaling/minReplicas"},
		{"analyzer.autoscaling.triggerMetadata.protocol=amqp", "'protocol'"},
		{"gateway.readinessPath=/metrics", "/gateway/readinessPath"},
		{"gateway.persistence.accessMode=ReadWriteMany", "/gateway/persistence/accessMode"},
		{"networkPolicy.s3.ports[0]=https", "/networkPolicy/s3/ports/0"},
		{"captions.url=ollama:11434", "/captions/url"},
		{"analyzer.env.CAPTION_URL=http://ollama:11434/v1", "'CAPTION_URL'"},
		{"analyzer.env.CAPTION_PIXELS=32", "/analyzer/env/CAPTION_PIXELS"},
		{"analyzer.extraEnv[0].name=CAPTION_API_KEY,analyzer.extraEnv[0].value=secret", "/analyzer/extraEnv/0"},
		// Rejected by the templates.
		{"captions.url=http://ollama:11434/v1", "captions: specify url and model"},
		{"captioner.enabled=true", "captioner.enabled"},
		{
			"captioner.enabled=true,captions.url=http://a/v1,captions.model=m,captioner.autoscaling.enabled=true,keda.existingSecret=a,analyzer.env.CAPTION_CONCURRENCY=100",
			"CAPTION_CONCURRENCY (100)",
		},
		{"captioner.enabled=true,captions.url=http://a/v1,captions.model=m,captioner.autoscaling.enabled=true", "keda.existingSecret"},
		{"rabbitmq.existingSecret=", "rabbitmq.existingSecret"},
		{"s3.endpoint=", "s3.endpoint"},
		{"database.kind=postgres", "database.existingSecret"},
		{"database.existingSecret=postgres", "database.kind"},
		{"s3.bucketProcessed=original", "s3.prefixOriginal"},
		{"trust.secret=a,trust.configMap=b", "trust"},
		{"gateway.ingress.enabled=true", "gateway.ingress.hosts"},
		{"analyzer.autoscaling.enabled=true", "keda.existingSecret"},
		{"processor.autoscaling.enabled=true,keda.existingSecret=a,keda.authenticationRef.name=b", "authenticationRef"},
		{"analyzer.autoscaling.enabled=true,keda.existingSecret=a,analyzer.autoscaling.minReplicas=11", "maxReplicas"},
		{
			"analyzer.autoscaling.enabled=true,keda.existingSecret=a,analyzer.env.CONCURRENCY=20,analyzer.autoscaling.messagesPerReplica=20",
			"CONCURRENCY (20)",
		},
		{"analyzer.env.MAX_PIXEL_BYTES=1073741824", "MAX_PIXEL_BYTES (1073741824)"},
		{"analyzer.resources.limits.memory=512Mi", "MAX_PIXEL_BYTES (536870912)"},
	} {
		_, err := render(t, values(t, []string{"minimal"}, c.set))
		if err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want %q", c.set, err, c.why)
		}
	}
	// Optional values may be missing.
	for _, set := range []string{
		"gateway.replicas=0", "gateway.replicas=2,database.kind=postgres,database.existingSecret=postgres", "s3.bucketProcessed=original,s3.prefixProcessed=done/",
		"analyzer.resources=null", "extraEnv[0].name=S3_SECRET_KEY,extraEnv[0].valueFrom.secretKeyRef.name=s3,extraEnv[0].valueFrom.secretKeyRef.key=key",
		"analyzer.autoscaling.enabled=true,keda.authenticationRef.name=mine",
	} {
		if _, err := render(t, values(t, []string{"minimal"}, set)); err != nil {
			t.Errorf("%s: %v", set, err)
		}
	}
	// All errors are reported together.
	_, err := render(t, values(t, []string{"minimal"}, "s3.bucketProcessed=original", "trust.secret=a", "trust.configMap=b"))
	if err == nil || !strings.Contains(err.Error(), "s3.prefixOriginal") || !strings.Contains(err.Error(), "trust:") {
		t.Errorf("two mistakes: %v", err)
	}
}
