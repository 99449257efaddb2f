package roletest

import (
	"context"
	"fmt"
	"net/http"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Assume requests keys from an S3 server that has STS, such as MinIO. They are valid
// for 15 minutes and allow the operations that both the policy and the given keys
// allow, or without a policy, those of the given keys.
func Assume(ctx context.Context, endpoint, accessKey, secretKey, policy string) (Keys, error) {
	sts := credentials.STSAssumeRole{STSEndpoint: endpoint, Options: credentials.STSAssumeRoleOptions{
		AccessKey: accessKey, SecretKey: secretKey, Policy: policy, Location: "us-east-1", DurationSeconds: 900,
	}}
	k, err := sts.RetrieveWithCredContext(&credentials.CredContext{Client: http.DefaultClient, Context: ctx})
	if err != nil {
		return Keys{}, fmt.Errorf("assume role: %w", err)
	}
	return Keys{AccessKey: k.AccessKeyID, SecretKey: k.SecretAccessKey, SessionToken: k.SessionToken, Expires: k.Expiration}, nil
}
