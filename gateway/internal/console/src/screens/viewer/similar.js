// The other images of the job that look like this one.
import { jobPath, useImage } from '../../lib/api.js';
import { plural } from '../../lib/format.js';
import { html } from '../../lib/preact.js';
import { href } from '../../lib/router.js';
import { ErrorNote } from '../../lib/ui.js';

const kinds = { exact: 'same bytes', similar: 'looks alike' };

/** alikeOf returns the other members of the groups that an image is in: {index, kind, distance,
 * suggested}, without duplicates. distance is the largest one of the group. */
export function alikeOf(groups, index) {
  const found = new Map();
  for (const { kind, distance, images } of groups ?? []) {
    if (!images.some((image) => image.index === index)) continue;
    for (const image of images) if (image.index !== index && !found.has(image.index)) found.set(image.index, { ...image, kind, distance });
  }
  return [...found.values()];
}

/** Similar shows them. onGo goes to an image without leaving the viewer. */
export function Similar({ job, index, similar, query, onGo }) {
  if (similar.error) return html`<${ErrorNote} error=${similar.error} title="The images could not be compared" retry=${similar.reload} />`;
  const alike = alikeOf(similar.groups, index);
  if (alike.length === 0) return null;
  return html`<section><h2>Similar (${alike.length})</h2>
    <ul class="alike" role="list">${alike.map((each) => html`<${Alike} key=${each.index} job=${job} query=${query} onGo=${onGo} ...${each} />`)}</ul>
    <p><a href=${href('job', { id: job.job_id }, { show: 'similar' })}>All similar images of this job</a></p></section>`;
}

function Alike({ job, index, kind, distance, suggested, query, onGo }) {
  const src = useImage(jobPath(job.job_id, `images/${index}/thumbnail`));
  const image = job.images[index];
  const click = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button) return;
    event.preventDefault();
    onGo(index);
  };
  return html`<li><a href=${href('viewer', { id: job.job_id, index }, query)} onClick=${click}>
    <span class="alike-picture">${src && html`<img src=${src} alt="" loading="lazy" />`}</span>
    <bdi class="alike-name">${image?.original_filename || `Image ${index + 1}`}</bdi>
    <small>${kinds[kind] ?? kind}${kind === 'similar' ? `, at most ${plural(distance, 'bit')} apart` : ''}${suggested ? ' · the one to keep' : ''}</small></a></li>`;
}
