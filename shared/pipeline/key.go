package pipeline

import "path"

// OriginalKey returns the key of an original: {trace_id}/{name}. The gateway has
// already made the name safe as a key.
func OriginalKey(id TraceID, name string) string { return string(id) + "/" + name }

// ProcessedKey returns the key of the processed image of an original, the
// processed_path of the API: {trace_id}/{name}.
func ProcessedKey(id TraceID, originalKey string) string {
	return string(id) + "/" + path.Base(originalKey)
}

// RecordKey returns the key of the JSON record of a processed image.
func RecordKey(processed string) string { return processed + ".json" }

// ThumbnailKey returns the key of the thumbnail of a processed image.
func ThumbnailKey(processed string) string { return processed + ".thumb.jpg" }

// CaptionsPrefix is the prefix of the keys of the stored answers of vision models, in the store of
// processed images. No key of an image starts with it.
const CaptionsPrefix = "captions/"

// CaptionKey returns the key of the answer to a request about a picture: both are hashes, so that
// equal requests about equal pictures share one answer.
func CaptionKey(picture, request string) string {
	return CaptionsPrefix + picture + "." + request + ".json"
}

// SidecarKey returns the key of the XMP sidecar of a processed image. Not every image
// has a sidecar.
func SidecarKey(processed string) string { return processed + ".xmp" }
