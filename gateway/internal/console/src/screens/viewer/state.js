// What has become of an image that has no results, or lacks a caption, and what to do.
import { request, jobPath } from '../../lib/api.js';
import { html, useState } from '../../lib/preact.js';
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

// Images that failed for these reasons may have been stored before.
const stored = new Set(['damaged_image', 'too_many_pixels', 'processing_failed', 'cancelled']);

/** useOriginal returns {found, button} for an image without results: whether its original is there,
 * which is known after the person has pressed the button. */
export function useOriginal(jobID, image) {
  const key = image?.status === 'failed' && stored.has(image.error_code) ? jobPath(jobID, `images/${image.index}/original`) : '';
  const [asked, ask] = useState({ key: '' });
  const now = asked.key === key ? asked : { key };
  const look = async () => {
    ask({ key, busy: true });
    try {
      await request('HEAD', key, { as: 'text' });
      ask({ key, found: true });
    } catch (error) {
      ask({ key, error });
    }
  };
  return {
    found: key !== '' && now.found === true,
    button: key !== '' && !now.found && (now.error?.status === 404
      ? html`<p class="faint">The gateway has no file of this image.</p>`
      : html`<button type="button" disabled=${now.busy} onClick=${look}>Show the original</button><${ErrorNote} error=${now.error} title="The original could not be loaded" />`),
  };
}
