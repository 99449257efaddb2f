package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/s3store"
)

// objects holds that every completed image has its three objects, whole, and
// that there is no object that is nobody's.
func (r *run) objects(ctx context.Context, jobs map[string]*jobAnswer) {
	originals, processed, err := r.stores()
	if err != nil {
		r.history.breach("open the storage: %v", err)
		return
	}
	late := map[string]bool{}    // trace ids of cancelled images: one that was in hand may still be finished
	results := map[string]bool{} // keys of processed objects
	for _, j := range jobs {
		b, _ := r.ledger.owner(j)
		for i, img := range j.Images {
			late[img.TraceID] = img.ErrorCode == "cancelled"
			if img.Status != "completed" || b == nil {
				continue
			}
			for _, suffix := range []string{"", ".json", ".thumb.jpg"} {
				results[img.ProcessedPath+suffix] = true
			}
			if err := whole(ctx, processed, img.ProcessedPath, &b.images[i]); err != nil {
				r.history.breach("job %s: image %d is completed: %v", j.JobID, i, err)
			}
		}
	}
	r.noOrphans(ctx, "original", originals, func(kept map[string]bool, trace, _ string) bool { return kept[trace] })
	r.noOrphans(ctx, "processed", processed, func(kept map[string]bool, trace, key string) bool {
		return results[key] || late[trace] && kept[trace]
	})
}

// kept are the trace ids of the jobs that retention has not taken. A job of which
// something was written while the clock was fast stays for that much longer.
func (r *run) kept(ctx context.Context) (map[string]bool, error) {
	list, err := r.list(ctx, 0)
	if err != nil {
		return nil, err
	}
	kept := map[string]bool{}
	for i := range list {
		for _, img := range list[i].Images {
			kept[img.TraceID] = true
		}
	}
	return kept, nil
}

func (r *run) stores() (originals, processed *s3store.Store, err error) {
	open := func(bucket string) (*s3store.Store, error) {
		return s3store.Open(s3store.Config{
			Endpoint: r.servers.storage.String(), AccessKey: r.servers.key, SecretKey: r.servers.secret, Region: "us-east-1",
			Bucket: bucket, Prefix: r.prefix(), PathStyle: true,
		})
	}
	if originals, err = open("original"); err != nil {
		return nil, nil, err
	}
	processed, err = open("processed")
	return originals, processed, err
}

// whole holds that the processed image decodes to the size of its source and is
// what its record says.
func whole(ctx context.Context, s objectstore.Store, path string, src *source) error {
	file, err := objectstore.ReadAll(ctx, s, path, maxAnswer)
	if err != nil {
		return err
	}
	picture, _, err := image.Decode(bytes.NewReader(file))
	if err != nil {
		return fmt.Errorf("decode %s: %w", path, err)
	}
	if picture.Bounds().Size() != src.whole.Size() {
		return fmt.Errorf("%s is %s and was sent as %s", path, picture.Bounds(), src.whole)
	}
	text, err := objectstore.ReadAll(ctx, s, path+".json", maxAnswer)
	if err != nil {
		return err
	}
	var record struct {
		OriginalFilename string `json:"original_filename"`
		Processed        struct {
			SHA256 string `json:"sha256"`
		} `json:"processed"`
	}
	if err := json.Unmarshal(text, &record); err != nil {
		return fmt.Errorf("read record of %s: %w", path, err)
	}
	sum := sha256.Sum256(file)
	if record.Processed.SHA256 != hex.EncodeToString(sum[:]) || record.OriginalFilename != src.name {
		return fmt.Errorf("record of %s tells of another file: %s", path, text)
	}
	thumbnail, err := objectstore.ReadAll(ctx, s, path+".thumb.jpg", maxAnswer)
	if err != nil {
		return err
	}
	if _, _, err := image.Decode(bytes.NewReader(thumbnail)); err != nil {
		return fmt.Errorf("decode thumbnail of %s: %w", path, err)
	}
	return nil
}

// How long an object may be nobody's: the lease of a batch that was given up,
// and, of a job that retention has taken, the time for which a handler may still
// store something and the sweep after it.
const (
	orphanTime     = time.Minute
	lateOrphanTime = 6 * time.Minute
)

// noOrphans waits until every object of the store is somebody's. known is told
// which trace ids are in the list.
func (r *run) noOrphans(ctx context.Context, bucket string, s objectstore.Store, known func(kept map[string]bool, trace, key string) bool) {
	limit := orphanTime
	if r.retention > 0 {
		limit = lateOrphanTime
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	last := ""
	if err := poll(ctx, time.Second, func() (bool, error) {
		kept, err := r.kept(ctx)
		if err != nil {
			return false, fmt.Errorf("ask whose the objects of %s are: %w", bucket, err)
		}
		var orphans []string
		for info, err := range s.List(ctx, "") {
			if err != nil {
				return false, fmt.Errorf("list %s: %w", bucket, err)
			}
			if trace, _, _ := strings.Cut(info.Key, "/"); !known(kept, trace, info.Key) {
				orphans = append(orphans, info.Key)
			}
		}
		last = fmt.Sprintf("%d objects of %s are nobody's, %.300s", len(orphans), bucket, strings.Join(orphans, " "))
		return len(orphans) == 0, nil
	}); err != nil {
		r.history.breach("%s (%v)", last, err)
	}
}
