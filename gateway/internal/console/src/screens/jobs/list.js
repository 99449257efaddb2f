// What the list shows, as values that never change: {jobs, token, searched, waiting}.
// - jobs: those that are shown, in their order
// - token: of the next page; null if there is none
// - searched: the time up to which the jobs were examined, if a search is not at its end
// - waiting: a first page with jobs that are not shown yet

/** nothing is a list before its first page. */
export const nothing = { jobs: [], token: null, searched: '', waiting: null };

/** positionOf returns the time at which a page token continues, or ''. Its first 8 bytes are that
 * time in nanoseconds; see listquery.go. A token of another form has no time. */
export function positionOf(token, now = Date.now()) {
  try {
    const bytes = Uint8Array.from(atob(token.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
    const time = Number(new DataView(bytes.buffer).getBigInt64(0) / 1_000_000n);
    return time > Date.UTC(2020) && time < now + 86_400_000 ? new Date(time).toISOString() : '';
  } catch {
    return '';
  }
}

/** append returns the list with the pages that follow, as one: {jobs, token}. */
export function append(list, { jobs, token }) {
  const shown = new Set(list.jobs.map((job) => job.job_id));
  return { ...list, jobs: [...list.jobs, ...jobs.filter((job) => !shown.has(job.job_id))], token, searched: token ? positionOf(token) : '' };
}

const changed = (a, b) => a.updated_at !== b.updated_at || a.status !== b.status || a.completed !== b.completed || a.failed !== b.failed || a.uncaptioned !== b.uncaptioned;

/** update returns the list with the present state of its jobs. A job that has not changed stays the
 * same object, so that its row is not rendered. */
export function update(list, jobs) {
  const states = new Map(jobs.map((job) => [job.job_id, job]));
  if (!list.jobs.some((job) => states.has(job.job_id) && changed(job, states.get(job.job_id)))) return list;
  return { ...list, jobs: list.jobs.map((job) => {
    const next = states.get(job.job_id);
    return next && changed(job, next) ? next : job;
  }) };
}

/** newJobs returns the jobs of a page that the list does not show. */
export function newJobs(list, page) {
  const shown = new Set(list.jobs.map((job) => job.job_id));
  return page.jobs.filter((job) => !shown.has(job.job_id));
}

/** refresh returns the list after the first page was read again. Jobs that it shows change in their
 * place. New ones wait, so that nothing moves under the eyes of the reader, except where they move
 * nothing: in an empty list, and at the end of one whose oldest jobs come first. */
export function refresh(list, page, oldest = false) {
  const next = update(list, page.jobs);
  const added = newJobs(next, page);
  if (added.length === 0) return next.waiting ? { ...next, waiting: null } : next;
  if (oldest) return list.token === null ? append(next, page) : next;
  if (next.jobs.length === 0) return append(nothing, page);
  return { ...next, waiting: page };
}

/** showNew returns the list with the jobs that wait. Where the page and the list have no job in
 * common, jobs may be missing between them, so the list starts again. */
export function showNew(list) {
  const page = list.waiting;
  if (!page) return list;
  const added = newJobs(list, page);
  if (page.token && added.length === page.jobs.length) return append(nothing, page);
  const fresh = new Set(page.jobs.map((job) => job.job_id));
  const last = page.jobs.at(-1).created_at;
  // A job among the times of the page that is not on it has left the filter, or was deleted.
  const rest = list.jobs.filter((job) => !fresh.has(job.job_id) && page.token && job.created_at <= last);
  return { ...list, jobs: [...page.jobs, ...rest], waiting: null };
}
