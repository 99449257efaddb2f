// What has become of an image that has no results, or lacks a caption, and what to do.
import { request, jobPath } from '../../lib/api.js';
import { useLoad } from '../../lib/load.js';
import { html } from '../../lib/preact.js';
import { ended } from '../../lib/state.js';
import { confirm, ErrorNote } from '../../lib/ui.js';
import { adviceFor, retryHelps } from '../job/reasons.js';
import { newJob, useWork } from '../job/work.js';

const again = { text: 'It processes 1 image of an earlier job again.', wanted: 1 };

/** Failure says why an image failed and what to do. */
export function Failure({ job, image }) {
  const { busy, error, run, again: repeat } = useWork();
  const cancelled = image.error_code === 'cancelled';
  const helps = retryHelps(image);
  const retry = () => run('The new job could not be made', newJob(job.job_id, 'reprocess', { images: [image.index] }, again));
  return html`<div class=${`note ${cancelled ? '' : 'bad'}`}><div>
      <p class="note-title">${cancelled ? 'The job was cancelled before this image was done.' : html`This image failed: <bdi>${image.error || 'the gateway gave no reason'}</bdi>`}</p>
      <p>${adviceFor(image)}${!helps && ' A retry would fail again.'}</p>
      ${helps && !ended(job) && html`<p>It can be retried when the job has ended.</p>`}</div>
      ${helps && ended(job) && html`<button type="button" disabled=${busy} onClick=${retry}>Retry this one</button>`}</div>
    <${ErrorNote} error=${error} title="The new job could not be made" retry=${repeat} />`;
}

/** Uncaptioned says that the model gave no caption. captions is {model, host}, or null if no model
 * may see the image. */
export function Uncaptioned({ job, image, captions }) {
  const { busy, error, run, again: repeat } = useWork();
  const ask = async () => {
    const text = html`A new job processes this image again. A small copy of it goes to the model <bdi>${captions.model}</bdi> at <bdi>${captions.host}</bdi>. This job stays as it is.`;
    if (!(await confirm({ title: 'Ask the model again?', text, action: 'Caption this image', danger: false }))) return;
    run('The new job could not be made', newJob(job.job_id, 'reprocess', { images: [image.index], captions: true }, again));
  };
  return html`<div class="note warn"><div><p class="note-title">The model gave no caption for this image.</p><p>The warnings of the record say why.</p></div>
      ${captions && ended(job) && html`<button type="button" disabled=${busy} onClick=${ask}>Ask again…</button>`}</div>
    <${ErrorNote} error=${error} title="The new job could not be made" retry=${repeat} />`;
}

// Images that failed for these reasons normally were stored before.
const stored = new Set(['damaged_image', 'processing_failed', 'cancelled']);

/** useOriginal reports whether the original of an image that has no results is there. */
export function useOriginal(job, image) {
  const wanted = image?.status === 'failed' && stored.has(image.error_code);
  const path = wanted ? jobPath(job.job_id, `images/${image.index}/original`) : '';
  const { data } = useLoad(async (signal) => {
    if (!wanted) return false;
    await request('HEAD', path, { as: 'text', signal, background: true });
    return true;
  }, [path]);
  return data === true;
}
