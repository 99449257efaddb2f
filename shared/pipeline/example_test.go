package pipeline_test

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// One image has three messages.
func Example() {
	now := time.Date(2025, 11, 18, 10, 30, 0, 0, time.UTC)
	e := pipeline.NewEnvelope("550e8400-e29b-41d4-a716-446655440000", 0, now)

	upload := pipeline.Upload{
		Envelope: e, OriginalFilename: "my photo.jpg",
		OriginalPath: pipeline.OriginalKey(e.TraceID, "my photo.jpg"),
		Size:         281_000, ContentType: "image/jpeg", SHA256: "9f86d081…",
	}
	printJSON(pipeline.ImageUpload, upload)

	analysis := pipeline.Analysis{
		Upload:    upload,
		Metadata:  pipeline.Metadata{Format: "jpeg", Width: 1600, Height: 1200},
		Thumbnail: []byte("the small JPEG"),
	}
	analysis.Envelope = e.Next(now.Add(11 * time.Millisecond))
	fmt.Println(pipeline.MetadataGenerated, "carries", analysis.Metadata.Width, "×", analysis.Metadata.Height)

	key := pipeline.ProcessedKey(e.TraceID, upload.OriginalPath)
	printJSON(pipeline.ImageProcessed, pipeline.Ended(e, key, now.Add(20*time.Millisecond)))

	// Output:
	// image_upload
	// {
	//   "version": 1,
	//   "job_id": "550e8400-e29b-41d4-a716-446655440000",
	//   "trace_id": "c9dd948a8e8bd0e8c0027cdb35d9e496",
	//   "index": 0,
	//   "attempt": 1,
	//   "timestamp": "2025-11-18T10:30:00Z",
	//   "original_filename": "my photo.jpg",
	//   "original_path": "c9dd948a8e8bd0e8c0027cdb35d9e496/my photo.jpg",
	//   "size": 281000,
	//   "content_type": "image/jpeg",
	//   "sha256": "9f86d081…"
	// }
	// metadata_generated carries 1600 × 1200
	// image_processed
	// {
	//   "version": 1,
	//   "job_id": "550e8400-e29b-41d4-a716-446655440000",
	//   "trace_id": "c9dd948a8e8bd0e8c0027cdb35d9e496",
	//   "index": 0,
	//   "attempt": 1,
	//   "timestamp": "2025-11-18T10:30:00.02Z",
	//   "status": "completed",
	//   "processed_path": "c9dd948a8e8bd0e8c0027cdb35d9e496/my photo.jpg"
	// }
}

func printJSON(queue fmt.Stringer, m any) {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		fmt.Println(err)
	}
	fmt.Printf("%s\n%s\n", queue, text)
}
