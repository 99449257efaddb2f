// Which images of a job, or of several jobs, a grid shows. The filter is in the URL: ?show=failed.
import { html } from '../../lib/preact.js';
import { number } from '../../lib/format.js';

/** filters has each filter by its name in the URL: its word and which images pass. */
export const filters = {
  all: { word: 'All', passes: () => true },
  failed: { word: 'Failed', passes: (image) => image.status === 'failed' && image.error_code !== 'cancelled' },
  cancelled: { word: 'Cancelled', passes: (image) => image.status === 'failed' && image.error_code === 'cancelled' },
  open: { word: 'Open', passes: (image) => image.status === 'pending' || image.status === 'processing' },
  uncaptioned: { word: 'No caption', passes: (image) => Boolean(image.uncaptioned) },
};

/** count returns how many images of the jobs pass a filter. */
export const count = (jobs, filter) => jobs.reduce((sum, job) => sum + job.images.filter(filters[filter].passes).length, 0);

/** Filters shows the filters that have images, as links. href(name) returns the address of one,
 * and show is the present one. more has further ones: [{name, word, count}]. */
export function Filters({ jobs, show, href, more = [] }) {
  const known = Object.entries(filters).map(([name, { word }]) => ({ name, word, count: count(jobs, name) }));
  const shown = [...known, ...more].filter((each) => each.count > 0 || each.name === 'all' || each.name === show);
  return html`<nav aria-label="Images"><ul class="chips">${shown.map((each) => html`<li key=${each.name}>
    <a class="chip" href=${href(each.name === 'all' ? null : each.name)} aria-current=${each.name === show ? 'true' : undefined}>${each.word} ${number(each.count)}</a></li>`)}</ul></nav>`;
}
