package sqlstore

import (
	"crypto/rand"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/job/jobtest"
)

// TestPlainRole runs the suite as a role with only the permissions that the manual
// grants.
func TestPlainRole(t *testing.T) {
	server := os.Getenv("TEST_POSTGRES_URL")
	if server == "" {
		t.Skip("TEST_POSTGRES_URL is not set")
	}
	manual, err := os.ReadFile("../../../../docs/operations.md")
	ok(t, err)
	block := regexp.MustCompile("(?s)### PostgreSQL\n.*?```sql\n(.*?)```").FindSubmatch(manual)
	if block == nil {
		t.Fatal("the manual has no statements")
	}
	u, err := url.Parse(server)
	ok(t, err)
	name := "test_" + strings.ToLower(rand.Text())
	text := strings.NewReplacer("imagebatch", name, "'…'", "'secret'", "DATABASE postgres", "DATABASE "+strings.TrimPrefix(u.Path, "/")).Replace(string(block[1]))
	var statements []string
	for statement := range strings.SplitSeq(text, ";\n") {
		if statement = strings.TrimSpace(statement); statement != "" {
			statements = append(statements, statement)
		}
	}
	testDatabase{"postgres", server}.execute(t, statements...)
	t.Cleanup(func() {
		testDatabase{"postgres", server}.execute(t, "SET client_min_messages = warning; DROP OWNED BY "+name+" CASCADE; DROP ROLE "+name)
	})

	u.User = url.UserPassword(name, "secret")
	jobtest.Run(t, func(t *testing.T) jobtest.Store {
		schema := name + "_" + strings.ToLower(rand.Text())
		testDatabase{"postgres", server}.execute(t, "CREATE SCHEMA "+schema+" AUTHORIZATION "+name)
		return openURL(t, inSchema(t, u.String(), schema))
	})
}
