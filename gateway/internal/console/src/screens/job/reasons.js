// What to do about an image that has failed. The error itself is the gateway's.

const again = 'Send the file again.';

const reasons = {
  invalid_base64: 'The program that sent it made a mistake. Send the file itself.',
  invalid_name: 'Give the file a shorter name and send it again.',
  too_large: 'Export a smaller file and send that.',
  not_an_image: 'Open the file on your device. If it shows a picture, export that as JPEG or PNG and send it.',
  unsupported_format: 'Save the picture as JPEG or PNG and send that.',
  damaged_image: 'The file is incomplete or damaged. Copy it again from the camera or a backup, and send that.',
  too_many_pixels: 'Export the picture with fewer pixels and send that.',
  download_failed: 'Check that the link opens without a login. Then retry, or send the file.',
  url_not_allowed: 'This gateway does not load from that address. Send the file instead.',
  original_lost: again,
  processing_failed: 'Retry. If it fails again, give the ID of the job to the operator.',
  cancelled: 'Retry to process it after all.',
};

// A retry starts from the same bytes, so it helps only if these are not the reason.
const passing = new Set(['download_failed', 'original_lost', 'processing_failed', 'cancelled']);

/** adviceFor returns what a person can do about a failed image. */
export const adviceFor = (image) => reasons[image.error_code] ?? 'Retry, or send the file again.';

/** retryHelps reports whether the same image may succeed in another job. */
export const retryHelps = (image) => image.status === 'failed' && (passing.has(image.error_code) || !(image.error_code in reasons));
