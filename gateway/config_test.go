package gateway_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/imagebatch/imagebatch/gateway"
	"github.com/imagebatch/imagebatch/shared/connect"
	"github.com/imagebatch/imagebatch/shared/service"
)

// TestSecretsAreNotPrinted verifies that neither the configuration error nor the printed
// configuration contains any part of a password, whatever characters the password has,
// encoded correctly, incorrectly or not at all, in every variable that accepts one.
func TestSecretsAreNotPrinted(t *testing.T) {
	const mark = "hu5h"
	rapid.Check(t, func(t *rapid.T) {
		odd := rapid.StringOfN(rapid.RuneFrom([]rune("aB7 @:/?#%&=+;,'\"\\|[]{}<>~`$!^*()_-.äß€😀\n\t")), 0, 8, -1)
		password := odd.Draw(t, "before") + mark + odd.Draw(t, "after")
		userinfo := rapid.SampledFrom([]string{
			url.UserPassword("anna", password).String(), "anna:" + url.QueryEscape(password), "anna:" + password, ":" + password,
		}).Draw(t, "userinfo")
		parameter := rapid.SampledFrom([]string{
			"", "?password=" + url.QueryEscape(password), "?sslmode=disable&sslpassword=" + password, "?" + password, "#" + password,
		}).Draw(t, "parameter")
		variables := map[string]string{
			"RABBITMQ_URL":  "amqp://" + userinfo + "@rabbit:5672/vhost" + parameter + ",amqps://" + userinfo + "@other/",
			"DATABASE_URL":  "postgres://" + userinfo + "@database:5432/jobs" + parameter,
			"S3_ENDPOINT":   "https://" + userinfo + "@s3.example.org" + parameter,
			"S3_SECRET_KEY": password, "S3_ACCESS_KEY": "anna",
		}
		var environ []string
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"RABBITMQ_URL", "DATABASE_URL", "S3_ENDPOINT", "S3_SECRET_KEY"}), 1, 4, rapid.ID).Draw(t, "given") {
			environ = append(environ, name+"="+variables[name])
			if name == "S3_SECRET_KEY" {
				environ = append(environ, "S3_ACCESS_KEY=anna")
			}
		}
		var printed strings.Builder
		c, err := connect.Effective[gateway.Config](environ)
		if err != nil {
			printed.WriteString(err.Error())
		} else if err := service.WriteConfig(&printed, c, environ); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(printed.String(), mark) {
			t.Errorf("%q: the output contains the password:\n%s", environ, printed.String())
		}
	})
}

// TestCommandsNeedNoCertificate verifies that only a process that listens needs its
// certificate: a backup is possible although the certificate is broken.
func TestCommandsNeedNoCertificate(t *testing.T) {
	environ := []string{"HTTP_ADDR=8080", "TLS_CERT_FILE=/does/not/exist", "TLS_KEY_FILE=/does/not/exist", "DATA_DIR=" + t.TempDir()}
	c, err := service.Load(environ, func(c *gateway.Config) (err error) {
		*c, err = c.Complete()
		return err
	})
	if err != nil {
		t.Errorf("for a command: %v", err)
	}
	if err := c.CheckListening(); err == nil || !strings.Contains(err.Error(), "TLS_CERT_FILE") || !strings.Contains(err.Error(), "HTTP_ADDR") {
		t.Errorf("for the service: %v", err)
	}
}

// TestUploadStallTimeout verifies the default and the limits of the variable.
func TestUploadStallTimeout(t *testing.T) {
	for value, valid := range map[string]bool{"": true, "30s": true, "1s": true, "10m": true, "0s": false, "999ms": false, "601s": false, "-30s": false} {
		c, err := connect.Load[gateway.Config]([]string{"UPLOAD_STALL_TIMEOUT=" + value})
		if valid != (err == nil) || err != nil && !strings.Contains(err.Error(), "UPLOAD_STALL_TIMEOUT") {
			t.Errorf("%q: got %v", value, err)
		}
		if value == "" && c.Service.UploadStallTimeout != 30*time.Second {
			t.Errorf("got a default of %s, want 30s", c.Service.UploadStallTimeout)
		}
	}
}

// TestDownloadSettings verifies the defaults of the download settings and the rejection of
// invalid ones.
func TestDownloadSettings(t *testing.T) {
	read, err := connect.Load[gateway.Config](nil)
	if err != nil {
		t.Fatal(err)
	}
	c := read.Service
	if c.DownloadHostConcurrency != 8 || c.DownloadMaxWait != 10*time.Minute || c.DownloadHeaderTimeout != 10*time.Second || c.DownloadTimeout != 30*time.Second {
		t.Errorf("defaults are %d, %s, %s and %s, want 8, 10m, 10s and 30s", c.DownloadHostConcurrency, c.DownloadMaxWait, c.DownloadHeaderTimeout, c.DownloadTimeout)
	}
	for _, wrong := range []string{
		"DOWNLOAD_HOST_CONCURRENCY=0", "DOWNLOAD_HOST_CONCURRENCY=2000", "DOWNLOAD_MAX_WAIT=0s", "DOWNLOAD_MAX_WAIT=25h", "DOWNLOAD_MAX_WAIT=10",
		"DOWNLOAD_HEADER_TIMEOUT=0s", "DOWNLOAD_HEADER_TIMEOUT=31s", "DOWNLOAD_TIMEOUT=0s", "DOWNLOAD_TIMEOUT=2h",
	} {
		name, _, _ := strings.Cut(wrong, "=")
		if _, err := connect.Effective[gateway.Config]([]string{wrong}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want an error that names the variable", wrong, err)
		}
	}
}

// TestPingInterval verifies that the time between two pings follows a short idle time,
// unless it is set.
func TestPingInterval(t *testing.T) {
	for want, environ := range map[time.Duration][]string{
		25 * time.Second: nil, 5 * time.Second: {"WS_IDLE_TIMEOUT=12s"}, 40 * time.Second: {"WS_IDLE_TIMEOUT=100s", "WS_PING_INTERVAL=40s"},
	} {
		c, err := service.Load(append(environ, "DATA_DIR="+t.TempDir()), func(c *gateway.Config) (err error) {
			*c, err = c.Complete()
			return err
		})
		if err != nil || c.WSPingInterval != want {
			t.Errorf("%q: got %s, %v, want %s", environ, c.WSPingInterval, err, want)
		}
	}
}
