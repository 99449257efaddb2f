package gateway

import (
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/service"
)

// TestCaptionRetention verifies that answers are kept as long as results, unless the variable says otherwise.
func TestCaptionRetention(t *testing.T) {
	for _, test := range []struct {
		results, captions string
		want              time.Duration // 0: keep
	}{
		{"", "", 0}, {"168h", "", 168 * time.Hour}, {"keep", "720h", 720 * time.Hour}, {"168h", "720h", 720 * time.Hour}, {"168h", "keep", 0},
	} {
		c, err := service.Load([]string{"DATA_DIR=" + t.TempDir(), "RESULT_RETENTION=" + test.results, "CAPTION_RETENTION=" + test.captions}, func(c *Config) (err error) {
			*c, err = c.Complete()
			return err
		})
		if err != nil || c.captionRetention != test.want {
			t.Errorf("results %q and captions %q: got %s, %v, want %s", test.results, test.captions, c.captionRetention, err, test.want)
		}
	}
}
