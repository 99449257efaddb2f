// One job and its images.
import { jobPath, useImage } from '../lib/api.js';
import { shortId } from '../lib/format.js';
import { useJob } from '../lib/live.js';
import { html } from '../lib/preact.js';
import { href } from '../lib/router.js';
import { Badge, CopyButton, ErrorNote, Heading, JobProgress, Loading, Time } from '../lib/ui.js';

export default function Job({ params }) {
  const { job, connection, error, gone } = useJob(params.id);
  return html`<${Heading} title=${`Job ${shortId(params.id)}`}>Job <span class="mono">${shortId(params.id)}</span> <${CopyButton} text=${params.id} label="Copy the job's ID" /><//>
    <${ErrorNote} error=${error} title=${gone ? 'This job is not there' : ''} />
    ${!job && !error && html`<${Loading} />`}
    ${job && html`<p><${Badge} job=${job} /> <${Time} value=${job.created_at} /> <small>${connection}</small></p>
      <${JobProgress} job=${job} />
      <ul class="list">${job.images.map((image) => html`<${Card} key=${image.index} id=${params.id} image=${image} />`)}</ul>`}`;
}

function Card({ id, image }) {
  const src = useImage(image.status === 'completed' ? jobPath(id, `images/${image.index}/thumbnail`) : '');
  return html`<li>${src && html`<img src=${src} alt="" width="96" loading="lazy" />`}
    <a href=${href('viewer', { id, index: image.index })}><bdi>${image.original_filename}</bdi></a> <${Badge} image=${image} /> ${image.error && html`<bdi>${image.error}</bdi>`}</li>`;
}
