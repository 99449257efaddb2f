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

// objects checks that every completed image has its three objects, complete, and
// that every object belongs to an image.
func (r *run) objects(ctx context.Context, jobs map[string]*jobAnswer) {
	originals, processed, err := r.stores()
	if err != nil {
		r.breach("open the storage: %v", err)
		return
	}
	late := map[string]bool{}    // trace IDs of cancelled images, whose processing may still have finished
	results := map[string]bool{} // keys of processed objects
	for _, j := range jobs {
		b := r.ledger.owner(j)
		for i, img := range j.Images {
			late[img.TraceID] = img.ErrorCode == "cancelled"
			if img.Status != "completed" || b == nil {
				continue
			}
			for _, suffix := range []string{"", ".json", ".thumb.jpg"} {
				results[img.ProcessedPath+suffix] = true
			}
			if err := complete(ctx, processed, img.ProcessedPath, &b.images[i]); err != nil {
				r.breach("job %s: image %d is completed: %v", j.JobID, i, err)
			}
		}
	}
	r.noOrphans(ctx, "original", originals, func(kept map[string]bool, trace, _ string) bool { return kept[trace] })
	r.noOrphans(ctx, "processed", processed, func(kept map[string]bool, trace, key string) bool {
		return results[key] || late[trace] && kept[trace]
	})
}

// stores returns the two buckets.
func (r *run) stores() (originals, processed *s3store.Store, err error) {
	config := s3store.Config{
		Endpoint: r.servers.storage.String(), AccessKey: r.servers.key, SecretKey: r.servers.secret, Region: "us-east-1",
		Bucket: "original", Prefix: r.prefix, PathStyle: true,
	}
	if originals, err = s3store.Open(config); err != nil {
		return nil, nil, err
	}
	config.Bucket = "processed"
	processed, err = s3store.Open(config)
	return originals, processed, err
}

// complete checks that the processed image decodes to the size of its source and
// agrees with its record, and that its thumbnail decodes.
func complete(ctx context.Context, s objectstore.Store, path string, src *source) error {
	objects := map[string][]byte{}
	for _, suffix := range []string{"", ".json", ".thumb.jpg"} {
		data, err := objectstore.ReadAll(ctx, s, path+suffix, maxAnswer)
		if err != nil {
			return err
		}
		objects[suffix] = data
	}
	decoded, _, err := image.Decode(bytes.NewReader(objects[""]))
	if err != nil {
		return fmt.Errorf("decode %s: %w", path, err)
	}
	if decoded.Bounds().Size() != src.size {
		return fmt.Errorf("%s has the size %s and was sent with %s", path, decoded.Bounds().Size(), src.size)
	}
	var record struct {
		OriginalFilename string `json:"original_filename"`
		Processed        struct {
			SHA256 string `json:"sha256"`
		} `json:"processed"`
	}
	if err := json.Unmarshal(objects[".json"], &record); err != nil {
		return fmt.Errorf("parse the record of %s: %w", path, err)
	}
	sum := sha256.Sum256(objects[""])
	if record.Processed.SHA256 != hex.EncodeToString(sum[:]) || record.OriginalFilename != src.name {
		return fmt.Errorf("the record of %s describes another file: %s", path, objects[".json"])
	}
	if _, _, err := image.Decode(bytes.NewReader(objects[".thumb.jpg"])); err != nil {
		return fmt.Errorf("decode the thumbnail of %s: %w", path, err)
	}
	return nil
}

// How long an object may belong to no job: the lease of a batch that was given up;
// and, after retention deleted the job, the time in which a handler may still store
// something, and the sweep after it.
const (
	orphanTime     = time.Minute
	lateOrphanTime = 6 * time.Minute
)

// noOrphans waits until every object of the bucket is known. kept are the trace IDs
// in the list: a job that was changed while a clock was fast is kept for longer.
func (r *run) noOrphans(ctx context.Context, bucket string, s objectstore.Store, known func(kept map[string]bool, trace, key string) bool) {
	limit := orphanTime
	if r.retention > 0 {
		limit = lateOrphanTime
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r.expect(ctx, func() string {
		list, err := r.list(ctx, 0, "")
		if err != nil {
			return err.Error()
		}
		kept := map[string]bool{}
		for i := range list {
			for _, img := range list[i].Images {
				kept[img.TraceID] = true
			}
		}
		var orphans []string
		for info, err := range s.List(ctx, "") {
			if err != nil {
				return fmt.Sprintf("list %s: %v", bucket, err)
			}
			if trace, _, _ := strings.Cut(info.Key, "/"); !known(kept, trace, info.Key) {
				orphans = append(orphans, info.Key)
			}
		}
		if len(orphans) > 0 {
			return fmt.Sprintf("%d objects of %s belong to no image: %.300s", len(orphans), bucket, orphans)
		}
		return ""
	})
}
