// The images of a job that look alike.
import { jobPath, request } from '../../lib/api.js';
import { useLoad } from '../../lib/load.js';
import { html } from '../../lib/preact.js';
import { ended } from '../../lib/state.js';
import { EmptyState, ErrorNote, Loading } from '../../lib/ui.js';
import { Cards, itemsOf, keyOf } from './grid.js';

/** useSimilar returns {groups, error, reload} of a job, without groups until it has ended. */
export function useSimilar(job) {
  const wanted = job && ended(job) && job.completed > 1;
  const { data, error, reload } = useLoad(
    async (signal) => (wanted ? (await request('GET', jobPath(job.job_id, 'similar'), { signal, background: true })).data.groups : null), [job?.job_id, wanted]);
  return { groups: data ?? null, error, reload, wanted };
}

/** similarItems returns the images that are in any group, like itemsOf. */
export function similarItems(job, groups) {
  const indexes = new Set(groups?.flatMap((group) => group.images.map((image) => image.index)));
  return itemsOf([job]).filter((item) => indexes.has(item.image.index));
}

/** Similar shows the groups. */
export function Similar({ job, similar, selected, onSelect, query }) {
  const { groups, error, reload, wanted } = similar;
  if (!wanted) return html`<${EmptyState} title=${ended(job) ? 'There is nothing to compare.' : 'The images are compared when the job has ended.'} />`;
  if (error) return html`<${ErrorNote} error=${error} title="The images could not be compared" retry=${reload} />`;
  if (!groups) return html`<${Loading} />`;
  if (groups.length === 0) return html`<${EmptyState} title="No two images look alike." />`;
  return html`<p class="faint">Of images that look alike, the one with the most pixels is suggested to keep, then the largest file.</p>
    ${groups.map(({ kind, images }, i) => {
      const items = images.map(({ index, suggested }) => ({ key: keyOf(job.job_id, index), jobID: job.job_id, image: job.images[index], mark: suggested ? 'keep' : '' }));
      const title = kind === 'exact' ? `${images.length} files with the same bytes` : `${images.length} images that look alike`;
      return html`<section key=${i} class="similar"><h2>${title}</h2>
        <${Cards} items=${items} jobs=${[job]} label=${title} selected=${selected} onSelect=${onSelect} query=${query} /></section>`;
    })}`;
}
