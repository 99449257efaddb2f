// What is needed to continue an upload after the page was reloaded or closed: the files cannot be
// kept, but their names, the division into requests and the Idempotency-Keys can.
import { request } from '../../lib/api.js';
import { read, write } from '../../lib/storage.js';
import { rememberSent } from './history.js';
import { baseName, enterJobs } from './parts.js';

const maxUploads = 5;
const maxAge = 86_400_000; // the gateway keeps a key as long as its job, by default 24 h after its end

const name = (id) => `upload.${id}`;
const fields = (item) => (item.url ? { url: item.url } : { path: item.path, size: item.size, time: item.time });

/** saveUpload stores an upload, or removes it when all its requests have a job. */
export function saveUpload({ id, label, captions, created, maxImages, next, parts }) {
  const others = read('uploads', []).filter((other) => other !== id);
  if (parts.every((part) => part.jobId)) {
    forgetUpload(id);
    return;
  }
  const stored = parts.map(({ number, key, jobId, total, items }) => (jobId ? { number, key, jobId, total } : { number, key, items: items.map(fields) }));
  write(name(id), { id, label, captions, created, maxImages, next, parts: stored });
  for (const old of others.slice(0, 1 - maxUploads)) write(name(old), null);
  write('uploads', [...others.slice(1 - maxUploads), id]);
}

/** forgetUpload removes a stored upload. */
export function forgetUpload(id) {
  write(name(id), null);
  const others = read('uploads', []).filter((other) => other !== id);
  write('uploads', others.length > 0 ? others : null);
}

// Tabs share what is stored. A tab that has the files of an upload says so.
const channel = globalThis.BroadcastChannel && globalThis.document ? new BroadcastChannel('imagebatch.uploads') : null;
let sending = () => '';

/** announceSending makes other tabs leave alone the upload whose ID the function returns. */
export const announceSending = (current) => { sending = current; };
channel?.addEventListener('message', ({ data }) => {
  if (data.ask && data.ask === sending()) channel.postMessage({ sending: data.ask });
});

function sentElsewhere(id, ms = 400) {
  if (!channel) return false;
  return new Promise((resolve) => {
    const heard = ({ data }) => data.sending === id && finish(true);
    const finish = (answer) => {
      clearTimeout(timer);
      channel.removeEventListener('message', heard);
      resolve(answer);
    };
    const timer = setTimeout(() => finish(false), ms);
    channel.addEventListener('message', heard);
    channel.postMessage({ ask: id });
  });
}

const maxPages = 20;

/** jobsOfUpload returns the jobs of an upload, oldest first. */
export async function jobsOfUpload(id, { signal, background } = {}) {
  const jobs = [];
  let token;
  for (let page = 0; page < maxPages && (page === 0 || token); page++) {
    const { data } = await request('GET', 'api/v1/batch', { query: { upload: id, view: 'summary', limit: 100, order: 'oldest', page_token: token }, signal, background });
    jobs.push(...data.jobs.filter((job) => job.metadata?.upload === id));
    token = data.next_page_token;
  }
  return jobs;
}

/** withJobs enters into parts the jobs that exist, also those whose response was lost, and marks
 * their files as sent. It returns the parts that it changed, as [job ID, images]. */
export function withJobs(parts, jobs) {
  const arrived = enterJobs(parts, jobs);
  for (const [, items] of arrived) rememberSent(items.map((item) => ({ name: baseName(item.path ?? ''), ...item })));
  return arrived;
}

/** interrupted resolves to the newest upload that was not sent to its end and that no tab is
 * sending, or to null. If all its images turn out to have arrived, its `complete` is true. */
export async function interrupted() {
  for (const id of read('uploads', []).toReversed()) {
    const upload = read(name(id));
    if (!upload || Date.now() - upload.created > maxAge) {
      forgetUpload(id);
      continue;
    }
    if (id === sending() || await sentElsewhere(id)) continue;
    try {
      if (withJobs(upload.parts, await jobsOfUpload(id, { background: true })).length > 0) saveUpload(upload);
    } catch {
      // Without an answer, a request that has its job is repeated, which the key makes harmless.
    }
    return { ...upload, complete: upload.parts.every((part) => part.jobId) };
  }
  return null;
}
