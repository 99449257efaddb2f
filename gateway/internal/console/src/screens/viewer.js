// One image of a job.
import { jobPath, request } from '../lib/api.js';
import { useLoad } from '../lib/load.js';
import { originOf } from '../lib/origin.js';
import { html } from '../lib/preact.js';
import { href } from '../lib/router.js';
import { ErrorNote, Heading, Loading, Origin } from '../lib/ui.js';

export default function Viewer({ params }) {
  const { id, index } = params;
  const { data: record, error, reload } = useLoad((signal) => request('GET', jobPath(id, `images/${index}/metadata`), { signal }).then((r) => r.data), [id, index]);
  return html`<${Heading}>${`Image ${index + 1}`}<//>
    <p><a href=${href('job', { id })}>Back to the job</a></p>
    <${ErrorNote} error=${error} retry=${reload} />
    ${!record && !error && html`<${Loading} />`}
    ${record && html`<p><bdi>${record.title}</bdi> <${Origin} value=${originOf(record, 'title')} /></p>`}`;
}
