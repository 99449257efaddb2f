package intake

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// TestRetentionOfDownloads verifies that an unused one-time download is deleted after its end, and not before.
func TestRetentionOfDownloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := setup(t)
		in := r.intake("gateway-1", r.broker)
		ctx, stop := context.WithCancel(t.Context())
		finished := make(chan struct{})
		go func() {
			in.retain(ctx)
			close(finished)
		}()
		start := r.now()
		stored := func() bool { // by the clock of its creation
			t.Helper()
			_, err := r.jobs.Download(t.Context(), "hash", start)
			if err != nil && !errors.Is(err, job.ErrNoDownload) {
				t.Fatal(err)
			}
			return err == nil
		}
		err := r.jobs.AddDownload(t.Context(), job.Download{Hash: "hash", JobID: "a", What: "zip", Expires: start.Add(job.DownloadTime)}, start)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(job.DownloadTime - time.Second)
		synctest.Wait()
		if !stored() {
			t.Error("deleted early")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if stored() {
			t.Error("the download is still there")
		}
		stop()
		<-finished
		r.close()
	})
}
