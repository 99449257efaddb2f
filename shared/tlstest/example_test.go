package tlstest_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"

	"github.com/imagebatch/imagebatch/shared/tlstest"
)

// A client that trusts the authority accepts the certificates that it issues.
func Example() {
	authority := tlstest.NewAuthority(new(testing.T)) // a test passes its own
	certificate, err := tls.X509KeyPair(authority.Issue())
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = certificate.Leaf.Verify(x509.VerifyOptions{Roots: authority.Pool(), DNSName: "localhost"})
	fmt.Println(err)
	// Output: <nil>
}
