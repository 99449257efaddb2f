package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/s3store"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// deniedTime is how long MinIO may deny, while nodes return, that an object exists.
const deniedTime = 20 * time.Second

// objects checks that every completed image has its three objects, complete, and
// that every object belongs to an image.
func (r *run) objects(ctx context.Context, jobs map[string]*jobResponse) {
	originals, processed, err := r.stores()
	if err != nil {
		r.breach("open the storage: %v", err)
		return
	}
	late := map[string]bool{}    // trace IDs of cancelled images; their processing may still have finished
	results := map[string]bool{} // keys of processed objects
	for _, j := range jobs {
		b := r.owner(j)
		for i, img := range j.Images {
			late[img.TraceID] = img.ErrorCode == "cancelled"
			if img.Status != "completed" || b == nil {
				continue
			}
			for _, suffix := range []string{"", ".json", ".thumb.jpg"} {
				results[img.ProcessedPath+suffix] = true
			}
			has, err := complete(ctx, processed, img.ProcessedPath, &b.images[i])
			for start := time.Now(); errors.Is(err, objectstore.ErrNotExist) && r.servers.cluster != nil && time.Since(start) < deniedTime; {
				r.note("judge", "object denied", err)
				pause(ctx, time.Second)
				has, err = complete(ctx, processed, img.ProcessedPath, &b.images[i])
			}
			if err != nil {
				r.breach("job %s: image %d is completed: %v", j.JobID, i, err)
				continue
			}
			r.compareCaption(j, b, &img, has)
		}
	}
	limit := 2 * time.Minute // lease of an abandoned batch, and the pause before its objects are deleted again
	if r.retention > 0 {
		// After retention deleted a job, a handler may still store objects for a while.
		// A later sweep deletes them.
		limit = 6 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r.expect(ctx, func() string {
		// A job that was changed while a clock was fast is kept for longer.
		list, err := r.list(ctx, 0, "")
		kept := map[string]bool{}
		for i := range list {
			for _, img := range list[i].Images {
				kept[img.TraceID] = true
			}
		}
		var orphans []string
		for _, bucket := range []*s3store.Store{originals, processed} {
			for info, unread := range bucket.List(ctx, "") {
				err = errors.Join(err, unread)
				trace, _, _ := strings.Cut(info.Key, "/")
				if trace == s3store.ProbeFolder {
					continue // left by a service that was killed; the next one deletes it
				}
				if r.captions && bucket == processed && strings.HasPrefix(info.Key, pipeline.CaptionsPrefix) {
					continue // an answer belongs to every image with its picture
				}
				known := kept[trace]
				if bucket == processed {
					known = results[info.Key] || known && late[trace]
				}
				if !known {
					orphans = append(orphans, info.Key)
				}
			}
		}
		if err != nil || len(orphans) > 0 {
			return fmt.Sprintf("%d objects belong to no image: %.300q (%v)", len(orphans), orphans, err)
		}
		return ""
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
// agrees with its record, and that its thumbnail decodes. It returns the texts of the record.
func complete(ctx context.Context, s objectstore.Store, path string, src *source) (texts, error) {
	objects := map[string][]byte{}
	for _, suffix := range []string{"", ".json", ".thumb.jpg"} {
		data, err := objectstore.ReadAll(ctx, s, path+suffix, maxResponse)
		if err != nil {
			return texts{}, err
		}
		objects[suffix] = data
	}
	decoded, _, err := image.Decode(bytes.NewReader(objects[""]))
	if err != nil {
		return texts{}, fmt.Errorf("decode %s: %w", path, err)
	}
	if decoded.Bounds().Size() != src.size {
		return texts{}, fmt.Errorf("%s has the size %s, want %s", path, decoded.Bounds().Size(), src.size)
	}
	var record struct {
		OriginalFilename string `json:"original_filename"`
		Processed        struct {
			SHA256 string `json:"sha256"`
		} `json:"processed"`
		texts
	}
	if err := json.Unmarshal(objects[".json"], &record); err != nil {
		return texts{}, fmt.Errorf("parse the record of %s: %w", path, err)
	}
	sum := sha256.Sum256(objects[""])
	if record.Processed.SHA256 != hex.EncodeToString(sum[:]) || record.OriginalFilename != src.name {
		return texts{}, fmt.Errorf("the record of %s describes another file: %s", path, objects[".json"])
	}
	if _, _, err := image.Decode(bytes.NewReader(objects[".thumb.jpg"])); err != nil {
		return texts{}, fmt.Errorf("decode the thumbnail of %s: %w", path, err)
	}
	return record.texts, nil
}
