package connect

import (
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/shared/objectstore/s3store"
	"github.com/imagebatch/imagebatch/shared/service"
)

// TestRole verifies that the platform's variables select the role and its endpoint.
func TestRole(t *testing.T) {
	endpoints := []string{"AWS_ENDPOINT_URL_STS=https://sts.example.org", "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://metadata.example.org"}
	for want, set := range map[s3store.Role]string{
		{Kind: "the role of the web identity (AWS_WEB_IDENTITY_TOKEN_FILE)", Endpoint: "https://sts.example.org"}: "AWS_WEB_IDENTITY_TOKEN_FILE=/token",
		{Kind: "the role of the container (AWS_CONTAINER_CREDENTIALS_…)"}:                                         "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2",
		{Kind: "the role of the instance", Endpoint: "http://metadata.example.org"}:                               "S3_REGION=eu-central-1",
	} {
		c, err := service.Load(append(endpoints, set), func(c *Config) error { return c.Validate() })
		if err != nil {
			t.Fatal(err)
		}
		if got := c.role(); got != want {
			t.Errorf("%s: %+v, want %+v", set, got, want)
		}
	}
	_, err := service.Load([]string{"AWS_ENDPOINT_URL_STS=sts.example.org", "AWS_EC2_METADATA_SERVICE_ENDPOINT=ftp://x"},
		func(c *Config) error { return c.Validate() })
	for _, name := range []string{"AWS_ENDPOINT_URL_STS: want ", "AWS_EC2_METADATA_SERVICE_ENDPOINT: want "} {
		if err == nil || strings.Count(err.Error(), name) != 1 {
			t.Errorf("%v, want one %q", err, name)
		}
	}
}
