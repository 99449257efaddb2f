// Requests that change a job or make another one from it.
import { jobPath, request } from '../../lib/api.js';
import { jobsChanged } from '../../lib/counts.js';
import { plural } from '../../lib/format.js';
import { randomId } from '../../lib/hash.js';
import { useRef, useState } from '../../lib/preact.js';
import { href, navigate } from '../../lib/router.js';
import { cancelled } from '../../lib/state.js';
import { announce } from '../../lib/ui.js';
import { made } from './made.js';

/** useWork returns {busy, error, title, again, run}. run(title, work) starts something, unless
 * another thing is running; again repeats what has failed. */
export function useWork() {
  const [state, set] = useState({ busy: false, error: null, title: '' });
  const last = useRef(null);
  const run = async (title, work) => {
    if (state.busy) return;
    last.current = () => run(title, work);
    set({ busy: true, error: null, title });
    try {
      await work();
      set({ busy: false, error: null, title });
    } catch (error) {
      set({ busy: false, error, title });
    }
  };
  return { ...state, run, again: () => last.current() };
}

/** newJob returns the work of making a job from images of another one: route is retry or
 * reprocess. It can run again, and makes one job even if a response is lost. text describes the
 * new job, and wanted is the number of images that it should have. */
export function newJob(id, route, body, { text, wanted }) {
  const key = randomId();
  return async () => {
    const { data } = await request('POST', jobPath(id, route), { body, headers: { 'Idempotency-Key': key } }).catch((err) => {
      if (err.status === 400) err.advice = 'The gateway has no file of these images. Send them again.';
      throw err;
    });
    made(data.job_id, { text, wanted });
    jobsChanged();
    navigate(href('job', { id: data.job_id }));
    announce(`New job. ${text}`);
  };
}

/** cancelJob ends a job. */
export async function cancelJob(id) {
  try {
    await request('POST', jobPath(id, 'cancel'));
  } catch (err) {
    if (err.status !== 409) throw err;
    announce('The job has ended in the meantime'); // the screen shows how
  }
  jobsChanged();
}

/** failedWord returns "failed", "cancelled" or "failed or cancelled", for the images that have not
 * been completed. */
export const failedWord = (job) => [job.failed > cancelled(job) && 'failed', cancelled(job) > 0 && 'cancelled'].filter(Boolean).join(' or ');

/** theImages returns "all 10 images", "the image" or "3 of 10 images". */
export function theImages(n, total) {
  if (total === 1) return 'the image';
  return n === total ? `all ${plural(total, 'image')}` : `${n} of ${plural(total, 'image')}`;
}
