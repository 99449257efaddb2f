// The images of the jobs of an upload, in one grid.
import { jobPath, request } from '../../lib/api.js';
import { number, plural } from '../../lib/format.js';
import { useLoad } from '../../lib/load.js';
import { differences } from '../../lib/merge.js';
import { html, useRef } from '../../lib/preact.js';
import { href } from '../../lib/router.js';
import { EmptyState, ErrorNote } from '../../lib/ui.js';
import { Filters, filters } from '../job/filters.js';
import { Grid } from '../job/grid.js';

const most = 20; // jobs whose images are shown, as many as records stay in memory

const stateOf = ({ job_id, status, completed, failed }) => [job_id, status, completed, failed].join();

// useWhole returns the jobs with their images, once they have arrived. Only those that have changed are
// loaded again, and an image that is the same stays the same object.
function useWhole(jobs) {
  const kept = useRef(new Map()); // by ID
  const { error, reload } = useLoad((signal) => Promise.all(jobs.map(async (job) => {
    const before = kept.current.get(job.job_id);
    if (before && stateOf(before) === stateOf(job)) return;
    const { data } = await request('GET', jobPath(job.job_id), { signal, background: true });
    differences(before, data);
    kept.current.set(job.job_id, data);
  })), [jobs.map(stateOf).join()]);
  return { whole: jobs.map((job) => kept.current.get(job.job_id)).filter(Boolean), error, reload };
}

/** Images shows the images of the jobs, with filters. */
export function Images({ id, jobs, query }) {
  const { whole, error, reload } = useWhole(jobs.slice(0, most));
  const given = query.get('show') ?? 'all';
  const show = given in filters ? given : 'all';
  const left = jobs.slice(most);
  const address = (name) => href('upload', { id }, { show: name });
  return html`<${ErrorNote} error=${error} title="The images could not be loaded" retry=${reload} />
    ${whole.length > 0 && html`<div class="row job-bar"><${Filters} jobs=${whole} show=${show} href=${address} /></div>
      <${Grid} jobs=${whole} filter=${show} query=${show === 'all' ? {} : { show }}><${EmptyState} title=${`No image here: none is in “${filters[show].word}”.`}><a href=${address(null)}>Show all images</a><//><//>`}
    ${left.length > 0 && html`<p>${number(left.reduce((sum, job) => sum + job.total_images, 0))} more images are in the last ${plural(left.length, 'job')} of the list above.</p>`}`;
}
