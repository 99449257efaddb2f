// The requests of an upload as values: each part has a number, an Idempotency-Key and either its
// images or the job that has them.

/** baseName returns the last part of a path. */
export const baseName = (path) => path.split('/').pop();

/** pendingOf returns the images of an upload that have no job. */
export const pendingOf = (upload) => upload.parts.filter((part) => !part.jobId).flatMap((part) => part.items);

/** match finds files for the images of an interrupted upload, by path or else by name, with the
 * same size and time. It returns {used, rest, changed}: the files that belong to an image, the
 * other files, and the names of images for which only another version was found. */
export function match(upload, found) {
  const same = (text) => text.normalize('NFC'); // macOS decomposes names, in some dialogs
  const wanted = pendingOf(upload).filter((item) => !item.url && !item.file);
  const [byPath, byName] = [new Map(), new Map()];
  for (const item of wanted) {
    byPath.set(same(item.path), item);
    const key = same(baseName(item.path));
    byName.set(key, [...(byName.get(key) ?? []), item]);
  }
  const [used, rest, changed] = [new Map(), [], []];
  for (const one of found) {
    const { file, path } = one;
    const fits = (item) => item && !used.has(item) && item.size === file.size && item.time === file.lastModified;
    const named = byName.get(same(file.name)) ?? [];
    const item = [byPath.get(same(path)), ...named].find(fits);
    if (item) used.set(item, file);
    else {
      const other = byPath.get(same(path)) ?? (named.length === 1 ? named[0] : null);
      if (other && !used.has(other)) changed.push(other.path);
      rest.push(one);
    }
  }
  const present = new Set([...used.keys()].map((item) => item.path));
  return { used, rest, changed: changed.filter((path) => !present.has(path)) };
}

/** enterJobs enters into parts the jobs that exist. It returns the parts that it changed, as
 * [job ID, images]. A retry has the metadata of its job, but is another job. */
export function enterJobs(parts, jobs) {
  const arrived = [];
  for (const part of parts) {
    const job = !part.jobId && jobs.find(({ metadata, retry_of: again }) => !again && metadata.part === String(part.number));
    if (!job) continue;
    arrived.push([job.job_id, part.items]);
    Object.assign(part, { jobId: job.job_id, total: job.total_images, items: [] });
  }
  return arrived;
}
