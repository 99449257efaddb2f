package connect

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/imagebatch/imagebatch/shared/service"
)

// TestSecretsInFiles verifies that every secret of the servers can be read from a file.
func TestSecretsInFiles(t *testing.T) {
	var environ []string
	dir := t.TempDir()
	for name, value := range map[string]string{
		"RABBITMQ_URL": "amqp://user:secret@a/,amqp://user:secret@b/", "S3_ACCESS_KEY": "key", "S3_SECRET_KEY": "secret",
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		environ = append(environ, name+"_FILE="+file)
	}
	c, err := service.Load(environ, func(c *Config) error { return c.Validate() })
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.RabbitMQURL, []service.SecretURL{"amqp://user:secret@a/", "amqp://user:secret@b/"}) || c.S3AccessKey != "key" || c.S3SecretKey != "secret" {
		t.Errorf("configuration %+v", c)
	}
}
