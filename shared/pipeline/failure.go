package pipeline

// Failure ends an image: the image itself is at fault, so another try would fail in the
// same way, unless it may pass. A step is retried after all other errors.
type Failure struct {
	Code      string // one of the Code constants
	Text      string // for the client, without internal details
	Retryable bool   // the same image may succeed in a later job
	MayPass   bool   // another attempt in the same job may succeed: only the last one ends the image
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
	CodeInvalidName       = "invalid_name"       // the name is too long
	CodeTooLarge          = "too_large"          // more than MAX_IMAGE_BYTES
	CodeNotAnImage        = "not_an_image"       // empty, or not an image format
	CodeUnsupportedFormat = "unsupported_format" // an image, but neither JPEG nor PNG
	CodeDamaged           = "damaged_image"      // truncated or corrupt
	CodeTooManyPixels     = "too_many_pixels"    // exceeds the pixel, side, scan or work budget
	CodeDownloadFailed    = "download_failed"    // the URL could not be fetched
	CodeURLNotAllowed     = "url_not_allowed"    // not http(s), or not a public address
	CodeOriginalLost      = "original_lost"      // the stored original no longer exists
	CodeProcessingFailed  = "processing_failed"  // failed MaxAttempts times
	CodeCancelled         = "cancelled"          // the job was cancelled
)

// OriginalLost returns the failure of an image whose original is no longer in the
// store. It may pass: a store of several nodes may deny an object while nodes return.
func OriginalLost(err error) *Failure {
	return &Failure{Code: CodeOriginalLost, Text: "Original image is no longer in storage", Retryable: true, MayPass: true, Err: err}
}
