// The jobs of one drop as one upload.
import { number, plural, shortId } from '../lib/format.js';
import { useLoad } from '../lib/load.js';
import { html, useEffect, useRef } from '../lib/preact.js';
import { href } from '../lib/router.js';
import { ended, open } from '../lib/state.js';
import { announce, Badge, EmptyState, ErrorNote, Heading, JobProgress, Loading, Time } from '../lib/ui.js';
import { current } from './new/sender.js';
import { SendingPanel, sendingTitle } from './new/sending.js';
import { jobsOfUpload } from './new/uploads.js';
import { Images } from './upload/images.js';

const every = 2000; // ms between two looks at jobs that are not ended
const seldom = 10_000; // while nobody sees the page

// asOne returns jobs as one job. Those that repeat images of others are not counted again.
function asOne(jobs) {
  const sum = (member) => jobs.reduce((total, job) => total + job[member], 0);
  const one = { total_images: sum('total_images'), completed: sum('completed'), failed: sum('failed') };
  const statuses = new Set(jobs.map((job) => job.status));
  if (!jobs.every(ended)) one.status = jobs.some((job) => job.status !== 'pending') ? 'processing' : 'pending';
  else if (statuses.size === 1) [one.status] = statuses;
  else one.status = one.completed > 0 ? 'completed' : statuses.has('cancelled') ? 'cancelled' : 'failed';
  return one;
}

// useJobs loads the jobs again while one of them is open, and when this tab has sent another.
function useJobs(id, sent) {
  const loaded = useLoad((signal) => jobsOfUpload(id, { signal }), [id]);
  const { data, loading, reload } = loaded;
  const busy = data?.some((job) => !ended(job)) ?? false;
  useEffect(() => {
    if (!busy || loading) return undefined;
    let timer = 0;
    const later = () => {
      clearTimeout(timer);
      timer = setTimeout(reload, document.visibilityState === 'visible' ? every : seldom);
    };
    later();
    document.addEventListener('visibilitychange', later);
    return () => {
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', later);
    };
  }, [busy, loading]);
  const before = useRef(sent);
  useEffect(() => {
    if (before.current !== sent) reload();
    before.current = sent;
  }, [sent]);
  return loaded;
}

export default function Upload({ params, query }) {
  const { upload } = current.use();
  const own = upload?.id === params.id ? upload : null;
  const { data, error, reload } = useJobs(params.id, own?.jobs.length ?? 0);
  const jobs = data?.filter((job) => !job.retry_of) ?? [];
  const repeats = data?.filter((job) => job.retry_of) ?? [];
  const one = asOne(jobs);
  const all = jobs.length > 0 && jobs.every(ended) && (!own || own.state === 'done');
  const was = useRef(null);
  useEffect(() => {
    if (was.current === false && all) announce(`All images are processed${one.failed > 0 ? `, ${one.failed} failed` : ''}`);
    if (data) was.current = all;
  }, [all, data]);
  useEffect(() => {
    if (own?.state === 'done') own.seen = true;
  }, [own?.state]);

  const label = own?.label ?? jobs[0]?.metadata.label;
  const total = Math.max(one.total_images, own && own.state !== 'done' ? own.images : 0);
  const done = one.completed + one.failed;
  const title = sendingTitle(own) || (total > done ? `${number(done)} of ${number(total)}` : '');
  return html`<${Heading} title=${[title, label ?? 'Upload'].filter(Boolean).join(' · ')}>Upload ${label && html`<bdi>${label}</bdi>`}<//>
    ${own && html`<${SendingPanel} upload=${own} />`}
    <${ErrorNote} error=${error} title="The jobs could not be loaded" retry=${reload} />
    ${!data && !error && html`<${Loading} />`}
    ${data && jobs.length === 0 && !own && html`<${EmptyState} title="This upload has no jobs.">
      They were deleted, or belong to another API key. See the <a href=${href('jobs')}>list of jobs</a>, or <a href=${href('new')}>send images</a>.<//>`}
    ${jobs.length > 0 && html`
      <p class="upload-state"><${Badge} job=${one} /> ${plural(one.total_images, 'image')} in ${plural(jobs.length, 'job')} · <${Time} value=${jobs[0].created_at} /></p>
      <${JobProgress} job=${{ ...one, total_images: total }} />
      ${jobs.length + repeats.length > 1 && html`<details class="upload-parts"><summary>${plural(jobs.length, 'job')}${repeats.length > 0 && ` and ${number(repeats.length)} with images processed again`}</summary>
        <${Jobs} jobs=${jobs} label="Jobs of this upload" />
        ${repeats.length > 0 && html`<h2>Images processed again</h2><${Jobs} jobs=${repeats} label="Jobs with images processed again" />`}
        <p><a href=${href('jobs', {}, { upload: params.id })}>Choose among these jobs</a> to cancel them or to retry failed images.</p></details>`}
      <${Images} id=${params.id} jobs=${jobs} query=${query} />`}`;
}

function Jobs({ jobs, label }) {
  return html`<ol class="list upload-jobs" aria-label=${label}>${jobs.map((job) => html`<li key=${job.job_id}>
    <a href=${href('job', { id: job.job_id })}>Job <span class="mono">${shortId(job.job_id)}</span></a>
    <span class="upload-images">${plural(job.total_images, 'image')}</span>
    <${Badge} job=${job} />
    ${open(job) > 0 && html`<${JobProgress} job=${job} />`}
    ${job.failed > 0 && html`<a class="upload-failed" href=${href('job', { id: job.job_id }, { show: 'failed' })}>Show the ${number(job.failed)} failed</a>`}
  </li>`)}</ol>`;
}
