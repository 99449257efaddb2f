// The jobs of one drop as one upload.
import { request } from '../lib/api.js';
import { plural } from '../lib/format.js';
import { useLoad } from '../lib/load.js';
import { html } from '../lib/preact.js';
import { href } from '../lib/router.js';
import { ErrorNote, Heading, JobProgress, Loading } from '../lib/ui.js';

export default function Upload({ params }) {
  const { data, error, reload } = useLoad(
    (signal) => request('GET', 'api/v1/batch', { query: { upload: params.id, view: 'summary', limit: 100 }, signal }).then((r) => r.data), [params.id]);
  return html`<${Heading}>Upload<//>
    <${ErrorNote} error=${error} retry=${reload} />
    ${!data && !error && html`<${Loading} />`}
    ${data && html`<ul class="list">${data.jobs.map((job) => html`<li key=${job.job_id}>
      <a href=${href('job', { id: job.job_id })}>${plural(job.total_images, 'image')}</a> <${JobProgress} job=${job} /></li>`)}</ul>`}`;
}
