package pipeline

// Failure ends an image: the fault is the image's own, so another try would
// end the same way. Every other error of a step is worth another try.
type Failure struct {
	Code      string // one of the Code constants
	Text      string // for the client: tells nothing about the inside
	Retryable bool   // the same image may succeed in a later job
	Err       error  // for the log, may be nil
}

func (f *Failure) Error() string {
	if f.Err != nil {
		return f.Code + ": " + f.Text + ": " + f.Err.Error()
	}
	return f.Code + ": " + f.Text
}

func (f *Failure) Unwrap() error { return f.Err }

// The error codes of failed images. They are part of the public API.
const (
	CodeInvalidBase64     = "invalid_base64"     // the inline data is not base64
	CodeTooLarge          = "too_large"          // more than MAX_IMAGE_BYTES
	CodeNotAnImage        = "not_an_image"       // empty, or bytes of no image format
	CodeUnsupportedFormat = "unsupported_format" // an image, but neither JPEG nor PNG
	CodeDamaged           = "damaged_image"      // truncated or corrupt
	CodeTooManyPixels     = "too_many_pixels"    // over the pixel, side, scan or work budget
	CodeDownloadFailed    = "download_failed"    // the URL could not be fetched
	CodeURLNotAllowed     = "url_not_allowed"    // not http(s), or no public address
	CodeOriginalLost      = "original_lost"      // the stored original is gone
	CodeProcessingFailed  = "processing_failed"  // tried MaxAttempts times
	CodeCancelled         = "cancelled"          // the job was cancelled
)

// OriginalLost is the failure of an image whose original is gone from the store.
func OriginalLost(err error) *Failure {
	return &Failure{Code: CodeOriginalLost, Text: "Original image is no longer in storage", Retryable: true, Err: err}
}
