// The list of jobs.
import { request } from '../lib/api.js';
import { plural, shortId } from '../lib/format.js';
import { useLoad } from '../lib/load.js';
import { html } from '../lib/preact.js';
import { href } from '../lib/router.js';
import { Badge, EmptyState, ErrorNote, Heading, Loading, Time } from '../lib/ui.js';

export default function Jobs({ query }) {
  const status = query.get('status');
  const { data, error, reload } = useLoad((signal) => request('GET', 'api/v1/batch', { query: { status, view: 'summary', limit: 50 }, signal }).then((r) => r.data), [status]);
  return html`<${Heading}>Jobs<//>
    <${ErrorNote} error=${error} retry=${reload} />
    ${!data && !error && html`<${Loading} />`}
    ${data?.jobs.length === 0 && html`<${EmptyState} title="No jobs yet."><a href=${href('new')}>Send images</a><//>`}
    ${data?.jobs.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Jobs"><table>
      <thead><tr><th>Job</th><th>State</th><th>Images</th><th>Created</th></tr></thead>
      <tbody>${data.jobs.map((job) => html`<tr key=${job.job_id}>
        <td><a class="mono" href=${href('job', { id: job.job_id })}>${shortId(job.job_id)}</a></td>
        <td><${Badge} job=${job} /></td><td>${plural(job.total_images, 'image')}</td><td><${Time} value=${job.created_at} /></td></tr>`)}</tbody>
    </table></div>`}`;
}
