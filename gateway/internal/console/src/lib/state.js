// The states of jobs and images, in words and with the tone of their color: idle, busy, good,
// warn, bad or muted. A color never stands alone.
import { number, plural } from './format.js';

/** jobState returns {word, tone} of a job. "completed" with failed images is a warning. */
export function jobState(job) {
  const failed = number(job.failed);
  switch (job.status) {
    case 'pending':
      return { word: 'waiting', tone: 'idle' };
    case 'processing':
      return job.failed ? { word: `processing, ${failed} failed`, tone: 'warn' } : { word: 'processing', tone: 'busy' };
    case 'completed':
      return job.failed ? { word: `completed, ${failed} failed`, tone: 'warn' } : { word: 'completed', tone: 'good' };
    case 'failed':
      return { word: job.total_images === 1 ? 'failed' : `all ${number(job.total_images)} failed`, tone: 'bad' };
    case 'cancelled':
      return { word: 'cancelled', tone: 'muted' };
    default:
      return { word: String(job.status), tone: 'idle' }; // a later release may have more
  }
}

/** imageState returns {word, tone} of an image of a job. */
export function imageState(image) {
  switch (image.status) {
    case 'pending':
      return { word: 'waiting', tone: 'idle' };
    case 'processing':
      return { word: 'processing', tone: 'busy' };
    case 'completed':
      return image.uncaptioned ? { word: 'completed, no caption', tone: 'warn' } : { word: 'completed', tone: 'good' };
    case 'failed':
      return image.error_code === 'cancelled' ? { word: 'cancelled', tone: 'muted' } : { word: 'failed', tone: 'bad' };
    default:
      return { word: String(image.status), tone: 'idle' };
  }
}

/** ended reports whether a job will not change any more. */
export const ended = (job) => ['completed', 'failed', 'cancelled'].includes(job.status);

/** open returns the number of images that have not ended. */
export const open = (job) => Math.max(0, job.total_images - job.completed - job.failed);

/** cancelled returns the number of images that were cancelled, which job.failed includes. Only the
 * images tell, so it is 0 for a summary. */
export const cancelled = (job) => job.images?.filter((image) => image.status === 'failed' && image.error_code === 'cancelled').length ?? 0;

/** countsInWords returns "7 done, 2 open, 1 failed" without the zeros. */
export function countsInWords(job) {
  const failed = job.status === 'cancelled' && !job.images ? 'failed or cancelled' : 'failed';
  const parts = [[job.completed, 'done'], [open(job), 'open'], [job.failed - cancelled(job), failed], [cancelled(job), 'cancelled']];
  const words = parts.filter(([n]) => n > 0).map(([n, word]) => `${number(n)} ${word}`);
  return words.join(', ') || plural(job.total_images, 'image');
}
