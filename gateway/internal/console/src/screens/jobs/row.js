// One job of the list.
import { number, plural, shortId } from '../../lib/format.js';
import { html } from '../../lib/preact.js';
import { href } from '../../lib/router.js';
import { ended } from '../../lib/state.js';
import { Badge, classes, CopyButton, JobProgress, Time } from '../../lib/ui.js';
import { memo } from '../job/memo.js';

/** Row shows a job. onSelect(id, selected, shift) is called when its box is ticked; it must stay the
 * same function, or all rows are rendered again. */
export const Row = memo(({ job, selected, onSelect, captions }) => {
  const id = job.job_id;
  const { label, upload } = job.metadata ?? {};
  const short = html`<span class="mono">${shortId(id)}</span>`;
  const images = `${plural(job.total_images, 'image')}${job.status === 'cancelled' && job.completed > 0 ? `, ${number(job.completed)} done` : ''}`; // the state has the other numbers
  return html`<li class=${classes('jobs-row', selected && 'selected')}>
    <input type="checkbox" checked=${selected} aria-label=${`Select job ${shortId(id)}`} onClick=${(event) => onSelect(id, event.currentTarget.checked, event.shiftKey)} />
    <div class="jobs-name">
      <span class="jobs-title"><a class="jobs-open" href=${href('job', { id })}>${label ? html`<bdi>${label}</bdi>` : html`Job ${short}`}</a>${!label && html` <${CopyButton} text=${id} label="Copy the job's ID" />`}</span>
      ${(label || upload || job.retry_of || (captions && job.uncaptioned > 0)) && html`<span class="jobs-meta">
        ${label && html`<span>Job ${short} <${CopyButton} text=${id} label="Copy the job's ID" /></span>`}
        ${upload && html`<a href=${href('upload', { id: upload })}>part of an upload</a>`}
        ${job.retry_of && html`<span>made from job <a class="mono" href=${href('job', { id: job.retry_of })}>${shortId(job.retry_of)}</a></span>`}
        ${captions && job.uncaptioned > 0 && html`<span class="jobs-uncaptioned">${plural(job.uncaptioned, 'image')} without caption</span>`}
      </span>`}
    </div>
    <span class="jobs-state"><${Badge} job=${job} /></span>
    <div class="jobs-images">${ended(job) ? images : html`<${JobProgress} job=${job} />`}</div>
    <span class="jobs-time"><${Time} value=${job.created_at} /></span>
  </li>`;
});
