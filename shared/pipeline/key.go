package pipeline

import "path"

// OriginalKey is the key of an original in its store: {trace_id}/{name}. The
// name is already safe as a key; the gateway made it so.
func OriginalKey(id TraceID, name string) string { return string(id) + "/" + name }

// ProcessedKey is the key of the processed image of an original, and what the
// API calls its processed_path: {trace_id}/{name}.
func ProcessedKey(id TraceID, originalKey string) string {
	return string(id) + "/" + path.Base(originalKey)
}

// RecordKey is the key of the JSON record beside a processed image.
func RecordKey(processed string) string { return processed + ".json" }

// ThumbnailKey is the key of the thumbnail beside a processed image.
func ThumbnailKey(processed string) string { return processed + ".thumb.jpg" }

// SidecarKey is the key of the XMP sidecar beside a processed image, which not
// every image has.
func SidecarKey(processed string) string { return processed + ".xmp" }
