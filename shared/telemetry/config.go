package telemetry

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/net/http/httpguts"

	"github.com/imagebatch/imagebatch/shared/service"
)

// Config is the environment's configuration of traces. The names and their meanings are OpenTelemetry's
// (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
type Config struct {
	// Base URL of a collector that accepts OTLP over HTTP in protobuf, such as `http://jaeger:4318`. Spans are posted to
	// `/v1/traces` below it. Empty: no traces are recorded or sent.
	Endpoint service.SecretURL `env:"OTEL_EXPORTER_OTLP_ENDPOINT"`
	// Headers of every request, for a collector that requires a key: `name=value`, several separated by commas, other
	// characters percent-encoded.
	Headers service.Secret `env:"OTEL_EXPORTER_OTLP_HEADERS"`
	// Name of the process in traces.
	//
	// Default: `gateway`, `analyzer`, `processor` or `standalone`
	ServiceName string `env:"OTEL_SERVICE_NAME"`
	// Attributes of every span: `deployment.environment.name=production`, several separated by commas.
	ResourceAttributes string `env:"OTEL_RESOURCE_ATTRIBUTES"`
	// Sampler that decides which traces are recorded: `always_on`, `always_off` or `traceidratio`, or one of these after `parentbased_`.
	Sampler string `env:"OTEL_TRACES_SAMPLER" envDefault:"parentbased_always_on"`
	// With `traceidratio`: the fraction of traces that is recorded, `0` to `1`. Empty: `1`.
	SamplerArg string `env:"OTEL_TRACES_SAMPLER_ARG"`
}

// parsed is a valid Config.
type parsed struct {
	url               *url.URL // URL of the requests
	headers, resource [][2]string
	sampler           sdktrace.Sampler
}

// Validate returns every error in the configuration. Without a collector it ignores
// the other variables.
func (c Config) Validate() error {
	if c.Endpoint == "" {
		return nil
	}
	_, err := c.parse()
	return err
}

func (c Config) parse() (p parsed, err error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	// The error does not repeat the value: it may contain a password.
	u, err := url.Parse(c.Endpoint.Reveal())
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		wrong("OTEL_EXPORTER_OTLP_ENDPOINT: want the base URL of a collector that accepts OTLP over HTTP, such as http://host:4318")
	} else {
		p.url = u.JoinPath("v1", "traces")
	}
	p.headers, err = pairs(c.Headers.Reveal())
	for _, h := range p.headers {
		if !httpguts.ValidHeaderFieldName(h[0]) || !httpguts.ValidHeaderFieldValue(h[1]) {
			err = errPairs
		}
	}
	if err != nil {
		wrong("OTEL_EXPORTER_OTLP_HEADERS: %w", err)
	}
	p.resource, err = pairs(c.ResourceAttributes)
	if err != nil {
		wrong("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	if c.ServiceName != "" {
		p.resource = append(p.resource, [2]string{"service.name", c.ServiceName})
	}
	sampler, parentBased := strings.CutPrefix(cmp.Or(c.Sampler, "parentbased_always_on"), "parentbased_")
	switch sampler {
	case "always_on":
		p.sampler = sdktrace.AlwaysSample()
	case "always_off":
		p.sampler = sdktrace.NeverSample()
	case "traceidratio":
		ratio, err := strconv.ParseFloat(cmp.Or(c.SamplerArg, "1"), 64)
		if err != nil || !(ratio >= 0 && ratio <= 1) {
			wrong("OTEL_TRACES_SAMPLER_ARG %q: want a number from 0 to 1", c.SamplerArg)
		}
		p.sampler = sdktrace.TraceIDRatioBased(ratio)
	default:
		wrong("OTEL_TRACES_SAMPLER %q: want always_on, always_off or traceidratio, or one of them after parentbased_", c.Sampler)
	}
	if parentBased && p.sampler != nil {
		p.sampler = sdktrace.ParentBased(p.sampler)
	}
	return p, errors.Join(errs...)
}

// errPairs does not repeat the list, which may contain a secret.
var errPairs = errors.New("want name=value, several separated by commas, other characters percent-encoded")

// pairs reads a list of names and values.
func pairs(list string) (all [][2]string, _ error) {
	for pair := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || err != nil || name == "" {
			return nil, errPairs
		}
		all = append(all, [2]string{name, value})
	}
	return all, nil
}
