// The images of one job or of several as a grid of cards.
import { html, useLayoutEffect, useRef, useState } from '../../lib/preact.js';
import { classes, EmptyState } from '../../lib/ui.js';
import { Card } from './card.js';
import { filters } from './filters.js';
import { move } from './move.js';
import { useNear } from './near.js';
import { leave, useReturn } from './place.js';
import { useRecords } from './records.js';

/** keyOf names an image among those of several jobs, in `selected`. */
export const keyOf = (jobID, index) => `${jobID}/${index}`;

/** itemsOf returns the images of the jobs that pass a filter, in their order, as {key, jobID, image}. */
export function itemsOf(jobs, filter = 'all') {
  const { passes } = filters[filter] ?? filters.all;
  return jobs.flatMap((job) => job.images.filter(passes).map((image) => ({ key: keyOf(job.job_id, image.index), jobID: job.job_id, image })));
}

/** Grid shows the images of jobs, each with its `images`, that pass a filter of filters.js.
 * - selected, onSelect: a Set of keys, and what gets a new one; without onSelect no card can be selected
 * - query: what the links to the viewer have, such as {show: 'failed'}
 * - children: what is shown if no image passes
 * Only the cards of images that are new objects are drawn again. */
export function Grid({ jobs, filter, selected, onSelect, query, children }) {
  const items = itemsOf(jobs, filter);
  if (items.length === 0) return children ?? html`<${EmptyState} title="No images." />`;
  return html`<${Cards} items=${items} jobs=${jobs} label="Images" selected=${selected} onSelect=${onSelect} query=${query} />`;
}

/** Cards shows the images that itemsOf returns, of these jobs. An item may also have a `mark`. */
export function Cards({ items, jobs, label, selected, onSelect, query }) {
  const list = useRef(null);
  const [current, setCurrent] = useState('');
  const anchor = useRef('');
  const recordOf = useRecords(jobs);
  const search = new URLSearchParams(query).toString();
  const at = (event) => items.findIndex((item) => item.key === event.target.closest('[data-card]')?.dataset.card);
  const element = (key) => list.current.querySelector(`[data-card="${CSS.escape(key)}"]`);
  const columns = () => getComputedStyle(list.current.firstElementChild).gridTemplateColumns.split(' ');
  useLayoutEffect(() => {
    const measure = () => {
      const widths = columns();
      list.current.style.setProperty('--columns', widths.length);
      list.current.style.setProperty('--row', `calc(${0.75 * parseFloat(widths[0])}px + 5rem)`); // the picture, the texts and the gap
    };
    const observer = new ResizeObserver(measure);
    observer.observe(list.current);
    measure();
    return () => observer.disconnect();
  }, []);
  useReturn((jobID, index) => element(keyOf(jobID, index)));

  // With Shift, everything between the last choice and this one becomes what this one becomes.
  const choose = (index, range) => {
    const { key } = items[index];
    const next = new Set(selected);
    const on = !next.has(key);
    const from = range ? items.findIndex((item) => item.key === anchor.current) : -1;
    const [first, last] = from < 0 ? [index, index] : [Math.min(from, index), Math.max(from, index)];
    for (const item of items.slice(first, last + 1)) {
      if (on) next.add(item.key);
      else next.delete(item.key);
    }
    anchor.current = key;
    onSelect(next);
  };
  const onClick = (event) => {
    const index = at(event);
    if (index < 0) return;
    if (event.target.closest('a')) leave();
    else if (event.target.matches('input')) choose(index, event.shiftKey);
  };
  const onKeyDown = (event) => {
    const index = at(event);
    if (index < 0 || event.altKey) return;
    const command = event.ctrlKey || event.metaKey;
    if (onSelect && command && event.key === 'a') onSelect(new Set(items.map((item) => item.key)));
    else if (onSelect && event.key === ' ' && event.target.matches('a')) choose(index, event.shiftKey);
    else if (onSelect && event.key === 'Escape' && selected?.size) onSelect(new Set());
    else {
      const to = command ? -1 : move(event.key, index, columns().length, items.length);
      if (to < 0) return;
      element(items[to].key).querySelector('a').focus();
    }
    event.preventDefault();
  };
  const onFocusIn = (event) => {
    const index = at(event);
    if (index >= 0) setCurrent(items[index].key);
  };
  const present = items.some((item) => item.key === current) ? current : items[0]?.key;
  const groups = [];
  for (let i = 0; i < items.length; i += perGroup) groups.push(items.slice(i, i + perGroup));
  const size = items.length === 1 ? 'one' : items.length <= 4 ? 'few' : '';
  return html`<p class="visually-hidden">Arrow keys move between the images, Enter opens one${onSelect && ', Space selects it'}.</p>
    <div ref=${list} class="grid" role="list" aria-label=${label} onClick=${onClick} onKeyDown=${onKeyDown} onFocusIn=${onFocusIn}>
      ${groups.map((group, i) => html`<${Group} key=${i} size=${size} count=${group.length}>${(near) => group.map(({ key, jobID, image, mark }) => html`<${Card} key=${key} id=${key}
        jobID=${jobID} image=${image} record=${recordOf(jobID, image.index)} near=${near} current=${key === present}
        selectable=${Boolean(onSelect)} selected=${Boolean(selected?.has(key))} query=${search} mark=${mark} />`)}<//>`)}
    </div>`;
}

// A long grid is drawn in groups, of which the browser skips those that cannot be seen. Each has
// whole rows with any number of columns up to 6, which is as many as the page is wide.
const perGroup = 60;

function Group({ size, count, children }) {
  const ref = useRef(null);
  const near = useNear(ref);
  return html`<div ref=${ref} class=${classes('cards', size)} role="none" style=${{ '--count': count }}>${children(near)}</div>`;
}
