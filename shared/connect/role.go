package connect

import (
	"fmt"
	"net/url"

	"github.com/imagebatch/imagebatch/shared/objectstore/s3store"
	"github.com/imagebatch/imagebatch/shared/service"
)

// RoleConfig is what is read of Amazon's own variables, which tell a process of the
// role it has. The rest of them is for the S3 client, which reads it from the
// environment of the process by itself: AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME,
// AWS_REGION, AWS_CONTAINER_AUTHORIZATION_TOKEN and its _FILE.
type RoleConfig struct {
	// Set by the platform: whose [role](#keys-of-a-role) it is.
	WebIdentityTokenFile string `env:"AWS_WEB_IDENTITY_TOKEN_FILE"`
	ContainerFullURI     string `env:"AWS_CONTAINER_CREDENTIALS_FULL_URI"`
	ContainerRelativeURI string `env:"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"`
	// Where a web identity is exchanged for keys: an STS of yours, such as MinIO's, or Amazon's in your network.
	//
	// Default: Amazon's, of `AWS_REGION`
	STSEndpoint service.SecretURL `env:"AWS_ENDPOINT_URL_STS"`
	// Where an instance is asked for its role.
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

// role is the one that the S3 client will take.
func (c RoleConfig) role() s3store.Role {
	switch {
	case c.WebIdentityTokenFile != "":
		return s3store.Role{Kind: "the role of the web identity (AWS_WEB_IDENTITY_TOKEN_FILE)", Endpoint: c.STSEndpoint.Reveal()}
	case c.ContainerFullURI != "" || c.ContainerRelativeURI != "":
		return s3store.Role{Kind: "the role of the container (AWS_CONTAINER_CREDENTIALS_…)"}
	}
	return s3store.Role{Kind: "the role of the instance", Endpoint: c.MetadataEndpoint.Reveal()}
}
