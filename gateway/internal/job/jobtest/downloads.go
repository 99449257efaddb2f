package jobtest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// download returns a new download of the owner that was created at t0.
func download(owner string, n int) job.Download {
	return job.Download{
		Hash: fmt.Sprintf("%s-%060d", owner, n), Key: "hash of '" + owner + "'", Owner: owner, JobID: newID(), What: "zip", Image: n,
		Include: "file,metadata", Paths: "custom_id", Expires: t0.Add(job.DownloadTime),
	}
}

func testDownloads(t *testing.T, open func(*testing.T) Store) {
	end := int(job.DownloadTime.Seconds())
	add := func(t *testing.T, s Store, d job.Download) job.Download {
		t.Helper()
		ok(t, s.AddDownload(t.Context(), d, at(0)))
		return d
	}
	gone := func(t *testing.T, s Store, hash string, seconds int) {
		t.Helper()
		_, err := s.Download(t.Context(), hash, at(seconds))
		wantErr(t, err, job.ErrNoDownload)
		_, err = s.TakeDownload(t.Context(), hash, at(seconds))
		wantErr(t, err, job.ErrNoDownload)
	}

	t.Run("a download is taken once", func(t *testing.T) {
		s := open(t)
		d, other := add(t, s, download("anna", 1)), add(t, s, download("", 2))
		gives(t, "read", d)(s.Download(t.Context(), d.Hash, at(0)))
		gives(t, "read again", d)(s.Download(t.Context(), d.Hash, at(end-1)))
		gives(t, "taken", d)(s.TakeDownload(t.Context(), d.Hash, at(end-1)))
		gone(t, s, d.Hash, 0)
		gives(t, "taken", other)(s.TakeDownload(t.Context(), other.Hash, at(0)))
		gone(t, s, "never", 0)
	})
	t.Run("of many calls one takes it", func(t *testing.T) {
		s := open(t)
		d := add(t, s, download("anna", 1))
		errs := make([]error, 8)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { _, errs[i] = s.TakeDownload(t.Context(), d.Hash, at(0)) })
		}
		wg.Wait()
		taken := 0
		for _, err := range errs {
			if err == nil {
				taken++
				continue
			}
			wantErr(t, err, job.ErrNoDownload)
		}
		same(t, "calls that took it", taken, 1)
	})
	t.Run("a download expires", func(t *testing.T) {
		s := open(t)
		d := add(t, s, download("anna", 1))
		gone(t, s, d.Hash, end)
		gives(t, "before its end", d)(s.Download(t.Context(), d.Hash, at(end-1)))
		ok(t, s.DropDownloads(t.Context(), at(end-1)))
		gives(t, "before its end", d)(s.Download(t.Context(), d.Hash, at(end-1)))
		ok(t, s.DropDownloads(t.Context(), at(end)))
		gone(t, s, d.Hash, end-1)
	})
	t.Run("a name has a hundred", func(t *testing.T) {
		s := open(t)
		first := add(t, s, download("anna", 0))
		for i := 1; i < job.MaxDownloads-1; i++ {
			add(t, s, download("anna", i))
		}
		// Several gateways compete for the last place.
		errs := make([]error, 4)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = s.AddDownload(t.Context(), download("anna", 1000+i), at(0)) })
		}
		wg.Wait()
		added := 0
		for _, err := range errs {
			if err == nil {
				added++
				continue
			}
			wantErr(t, err, job.ErrTooManyDownloads)
		}
		same(t, "added", added, 1)
		add(t, s, download("bert", 1))
		_, err := s.TakeDownload(t.Context(), first.Hash, at(1))
		ok(t, err)
		add(t, s, download("anna", 2000))
		wantErr(t, s.AddDownload(t.Context(), download("anna", 2001), at(end-1)), job.ErrTooManyDownloads)
		ok(t, s.AddDownload(t.Context(), download("anna", 2002), at(end))) // the others have expired
	})
}
