package connect

import (
	"fmt"
	"net/url"

	"github.com/imagebatch/imagebatch/shared/objectstore/s3store"
	"github.com/imagebatch/imagebatch/shared/service"
)

// RoleConfig contains those of AWS's own variables that assign a role to a process and
// that this package reads. The S3 client itself reads the others from the environment
// of the process: AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME, AWS_REGION,
// AWS_CONTAINER_AUTHORIZATION_TOKEN and its _FILE.
type RoleConfig struct {
	// Set by the platform; they determine which [role](#keys-of-a-role) the service uses.
	WebIdentityTokenFile string `env:"AWS_WEB_IDENTITY_TOKEN_FILE"`
	ContainerFullURI     string `env:"AWS_CONTAINER_CREDENTIALS_FULL_URI"`
	ContainerRelativeURI string `env:"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"`
	// STS endpoint that exchanges a web identity for keys: your own, such as MinIO's, or Amazon's inside your network.
	//
	// Default: Amazon's in `AWS_REGION`
	STSEndpoint service.SecretURL `env:"AWS_ENDPOINT_URL_STS"`
	// Metadata endpoint that returns the role of an instance.
	//
	// Default: Amazon's
	MetadataEndpoint service.SecretURL `env:"AWS_EC2_METADATA_SERVICE_ENDPOINT"`
}

func (c RoleConfig) validate() (errs []error) {
	for _, address := range []struct{ name, value string }{
		{"AWS_ENDPOINT_URL_STS", c.STSEndpoint.Reveal()}, {"AWS_EC2_METADATA_SERVICE_ENDPOINT", c.MetadataEndpoint.Reveal()},
	} {
		if u, err := url.Parse(address.value); address.value != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			errs = append(errs, fmt.Errorf("%s: want http://host:port or https://host", address.name))
		}
	}
	return errs
}

// role returns the role that the S3 client will use.
func (c RoleConfig) role() s3store.Role {
	switch {
	case c.WebIdentityTokenFile != "":
		return s3store.Role{Kind: "the role of the web identity (AWS_WEB_IDENTITY_TOKEN_FILE)", Endpoint: c.STSEndpoint.Reveal()}
	case c.ContainerFullURI != "" || c.ContainerRelativeURI != "":
		return s3store.Role{Kind: "the role of the container (AWS_CONTAINER_CREDENTIALS_…)"}
	}
	return s3store.Role{Kind: "the role of the instance", Endpoint: c.MetadataEndpoint.Reveal()}
}
