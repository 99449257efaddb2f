package roletest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Assume asks an S3 server that has STS, such as MinIO, for keys of a quarter of an
// hour that may do what the policy allows, and no more than the keys they come of.
// Without a policy they may do all that these may.
func Assume(ctx context.Context, endpoint, accessKey, secretKey, policy string) (Keys, error) {
	form := url.Values{"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "DurationSeconds": {"900"}}
	if policy != "" {
		form.Set("Policy", policy)
	}
	body := form.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(endpoint, "/")+"/", strings.NewReader(body))
	if err != nil {
		return Keys{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sign(req, body, accessKey, secretKey, time.Now().UTC())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return Keys{}, fmt.Errorf("assume role: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return Keys{}, fmt.Errorf("assume role: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return Keys{}, fmt.Errorf("assume role: %s\n%s", resp.Status, text)
	}
	var answer struct {
		Keys struct {
			AccessKeyID     string `xml:"AccessKeyId"`
			SecretAccessKey string
			SessionToken    string
			Expiration      time.Time
		} `xml:"AssumeRoleResult>Credentials"`
	}
	if err := xml.Unmarshal(text, &answer); err != nil {
		return Keys{}, fmt.Errorf("assume role: %w", err)
	}
	k := answer.Keys
	return Keys{AccessKey: k.AccessKeyID, SecretKey: k.SecretAccessKey, SessionToken: k.SessionToken, Expires: k.Expiration}, nil
}

// sign is Amazon's Signature Version 4 of a POST to the root.
func sign(req *http.Request, body, accessKey, secretKey string, now time.Time) {
	const region, service, signed = "us-east-1", "sts", "host;x-amz-date"
	stamp, day := now.Format("20060102T150405Z"), now.Format("20060102")
	canonical := fmt.Sprintf("POST\n/\n\nhost:%s\nx-amz-date:%s\n\n%s\n%s", req.URL.Host, stamp, signed, sum(body))
	scope := strings.Join([]string{day, region, service, "aws4_request"}, "/")
	key := []byte("AWS4" + secretKey)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	signature := hex.EncodeToString(mac(key, "AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+sum(canonical)))
	req.Header.Set("X-Amz-Date", stamp)
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s", accessKey, scope, signed, signature))
}

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
