// Merging what a connection reports into a job. Unchanged images stay the same objects, so that
// only the cards of changed ones are drawn again.

/** differences returns the indexes at which two states of a job have different images, as a Set,
 * 'all' if there was no job, or null if the job is the same. It moves unchanged images of before
 * into after. */
export function differences(before, after) {
  if (!before) return 'all';
  const changed = new Set();
  after.images?.forEach((image, i) => {
    const old = before.images?.[i];
    if (old && JSON.stringify(old) === JSON.stringify(image)) after.images[i] = old;
    else changed.add(i);
  });
  if (changed.size > 0) return changed;
  const { images: _, ...old } = before;
  const { images: __, ...now } = after;
  return JSON.stringify(old) === JSON.stringify(now) ? null : changed;
}

/** applyMessage returns {job, changed}: the job after a message of the WebSocket or the event
 * stream. The messages start again with each connection, so some report what is known. */
export function applyMessage(job, message) {
  const { image } = message;
  const { status, progress, completed, failed, total_images, timestamp } = message;
  const known = job.completed + job.failed;
  // A message from before the last GET must not turn the counters back.
  const news = completed + failed >= known ? { status, progress, completed, failed, total_images, updated_at: timestamp } : {};
  const next = { ...job, ...news };
  const old = image && job.images?.[image.index];
  if (!old || (old.status === image.status && old.error === image.error && old.processed_path === image.processed_path)) return { job: next, changed: [] };
  next.images = job.images.with(image.index, { ...old, ...image });
  return { job: next, changed: [image.index] };
}
