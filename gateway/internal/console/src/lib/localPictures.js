// Pictures of the files that this page has sent, for the time until their thumbnails exist.

const most = 100; // a file needs no memory, but a picture that is shown does
const files = new Map(); // {file, url} by job and index, the oldest first

const keyOf = (jobID, index) => `${jobID}/${index}`;

/** remember keeps the file of an image of a job. Of more than 100 files, the last ones stay. */
export function remember(jobID, index, file) {
  forget(keyOf(jobID, index));
  files.set(keyOf(jobID, index), { file, url: '' });
  while (files.size > most) forget(files.keys().next().value);
}

/** pictureOf returns a URL for an <img>, or '' if this page has not sent the image. */
export function pictureOf(jobID, index) {
  const kept = files.get(keyOf(jobID, index));
  if (!kept) return '';
  kept.url ||= URL.createObjectURL(kept.file);
  return kept.url;
}

function forget(key) {
  const url = files.get(key)?.url;
  if (url) URL.revokeObjectURL(url);
  files.delete(key);
}
