// One image of a job.
import { jobPath } from '../lib/api.js';
import { plural, shortId } from '../lib/format.js';
import { useJob } from '../lib/live.js';
import { html, useEffect, useRef, useState } from '../lib/preact.js';
import { href, navigate } from '../lib/router.js';
import { ended, imageState } from '../lib/state.js';
import { announce, Badge, EmptyState, ErrorNote, Heading, Loading } from '../lib/ui.js';
import { filters } from './job/filters.js';
import { previous } from './job/place.js';
import { useRecords } from './job/records.js';
import { useSimilar } from './job/similar.js';
import { Details, Json, Table } from './viewer/details.js';
import { Downloads } from './viewer/downloads.js';
import { File, Look, Photo } from './viewer/facts.js';
import { usePictures } from './viewer/pictures.js';
import { prefetchRecord, useRecord } from './viewer/record.js';
import { Similar } from './viewer/similar.js';
import { Stage } from './viewer/stage.js';
import { Failure, Uncaptioned, useOriginal } from './viewer/state.js';
import { Texts } from './viewer/texts.js';
import { written } from './viewer/written.js';

export default function Viewer({ params: { id, index }, query, limits, caller }) {
  const { job, connection, error, gone } = useJob(id);
  const images = job?.images ?? [];
  const image = images[index];
  const name = image?.original_filename || `Image ${index + 1}`;
  const show = query.get('show') ?? 'all';
  const { first, last, before, after, at, count } = neighbors(images, index, show);
  const [zoomed, zoom] = useState(false);
  const back = useBack(id, query);
  const go = (to) => {
    if (to === undefined || to === index || !images[to]) return;
    navigate(href('viewer', { id, index: to }, query), { replace: true });
    zoom(false);
    const { status, original_filename: next } = images[to];
    announce(`Image ${to + 1} of ${job.total_images}${next ? `, ${next}` : ''}${status === 'completed' ? '' : `, ${imageState(images[to]).word}`}`);
  };
  useKeys({ ArrowLeft: () => go(before), ArrowRight: () => go(after), Home: () => go(first), End: () => go(last), Escape: () => (zoomed ? zoom(false) : back()) });
  useStates(image);
  const among = show in filters && show !== 'all' && count < images.length ? ` · ${at + 1} of ${count} “${filters[show].word}”` : '';
  // The heading keeps its place in the tree, and with it the focus, while the rest arrives.
  return html`<div class="viewer">
    <nav class="viewer-bar" aria-label="Images of the job">
      <${Back} id=${id} query=${query} onBack=${back} />
      ${image && html`<span class="viewer-place">Image ${index + 1} of ${job.total_images}${among}</span>
        <button type="button" aria-disabled=${before === undefined} aria-keyshortcuts="ArrowLeft" onClick=${() => go(before)}><span aria-hidden="true">‹</span> Previous</button>
        <button type="button" aria-disabled=${after === undefined} aria-keyshortcuts="ArrowRight" onClick=${() => go(after)}>Next <span aria-hidden="true">›</span></button>`}
    </nav>
    <div class="viewer-head"><${Heading} class="viewer-name" title=${image ? `${index + 1}/${job.total_images} ${name}` : name}><bdi title=${name}>${name}</bdi><//>
      ${image && image.status !== 'completed' && !gone && html`<${Badge} image=${image} />`}</div>
    ${gone ? html`<${EmptyState} title=${job ? 'The job of this image was deleted.' : 'There is no such job.'}>
        ${job ? 'Jobs are deleted some time after their end, with their files.' : 'It was deleted, it belongs to another API key, or the address is not complete.'} See the <a href=${href('jobs')}>list of jobs</a>.<//>`
      : image ? html`<${Parts} job=${job} image=${image} name=${name} offline=${connection === 'offline'} query=${query} limits=${limits} caller=${caller} near=${[after, before]} zoomed=${zoomed} zoom=${zoom} go=${go} />`
        : job ? html`<${EmptyState} title=${`This job has only ${plural(job.total_images, 'image')}.`}><a href=${href('job', { id }, query)}>Show the job</a><//>`
          : error ? html`<${ErrorNote} error=${error} title="The job could not be read" />` : html`<${Loading} />`}
  </div>`;
}

// useBack returns the function that goes back to where the viewer was opened from: the job, or the
// upload that it belongs to.
function useBack(id, query) {
  const from = useRef(previous());
  useEffect(() => {
    const moved = () => { from.current = null; }; // Back would lead to another image
    addEventListener('hashchange', moved);
    return () => removeEventListener('hashchange', moved);
  }, []);
  return () => {
    if (['job', 'upload'].includes(from.current?.name)) history.back();
    else navigate(href('job', { id }, query));
  };
}

const plainClick = (event) => !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button);

function Back({ id, query, onBack }) {
  const click = (event) => {
    if (!plainClick(event)) return;
    event.preventDefault();
    onBack();
  };
  return html`<a class="viewer-back" href=${href('job', { id }, query)} onClick=${click}>‹ Job <span class="mono">${shortId(id)}</span></a>`;
}

// neighbors returns the indexes of the images before and after one, among those that pass the
// filter of the grid that it was opened from.
function neighbors(images, index, show) {
  const { passes } = filters[show] ?? filters.all;
  const all = images.filter((image) => image.index === index || passes(image)).map((image) => image.index);
  const at = all.indexOf(index);
  return { first: all[0], last: all.at(-1), before: all[at - 1], after: all[at + 1], at, count: all.length };
}

// Parts are the picture and everything that is known about it. near has the indexes of the images
// that are probably shown next.
function Parts({ job, image, name, offline, query, limits, caller, near, zoomed, zoom, go }) {
  const { job_id: id, images } = job;
  const { index } = image;
  const completed = image.status === 'completed';
  const { record, error, reload } = useRecord(id, index, completed);
  const known = useRecords([])(id, index); // what the grid has loaded
  const kept = useOriginal(id, image);
  const similar = useSimilar(job);
  const [originalOf, setOriginal] = useState(-1); // index of the image whose original is shown
  const original = originalOf === index;
  const [open, setOpen] = useState(new Set());
  const [search, setSearch] = useState('');

  // The file of this image, and once it is there those of its neighbors.
  const [loaded, setLoaded] = useState('');
  const pathOf = (other, what) => (images[other]?.status === 'completed' ? jobPath(id, `images/${other}/${what}`) : '');
  const path = kept.found ? jobPath(id, `images/${index}/original`) : pathOf(index, original ? 'original' : 'file');
  const next = loaded === path && !navigator.connection?.saveData ? near.map((other) => pathOf(other, 'file')) : [];
  const pictures = usePictures([path, ...next].filter(Boolean));
  useEffect(() => {
    if (loaded === path) for (const other of near) if (pathOf(other, 'metadata')) prefetchRecord(id, other);
  }, [loaded, path]);

  const has = new Set([...(!completed ? [] : error?.status === 404 ? ['original'] : ['file', 'original', 'metadata']), ...(record?.processed?.sidecar === 'added' ? ['xmp'] : []), ...(kept.found ? ['original'] : [])]);
  const toggle = (part, on) => setOpen((old) => {
    const now = new Set(old);
    if (on) now.add(part);
    else now.delete(part);
    return now;
  });
  const captions = limits.captions && caller?.captions !== false ? limits.captions : null;
  const size = record && { width: record.width, height: record.height };
  return html`${offline && !ended(job) && html`<p class="faint">No connection: the last known state.</p>`}
    <div class="viewer-parts">
      <div class="viewer-left">
        <${Stage} jobID=${id} image=${image} alt=${record?.alt_text ?? (known?.alt || record?.title || name)} thumbhash=${record?.thumbhash ?? known?.thumbhash} size=${size} transparent=${record?.alpha_used}
          picture=${path ? pictures(path) : null} zoomed=${zoomed} onZoom=${zoom} onLoad=${() => setLoaded(path)} onSwipe=${(step) => go(near[step > 0 ? 0 : 1])} />
        <div class="row viewer-files"><${Downloads} key=${index} jobID=${id} index=${index} keys=${limits.keys} has=${has} />
          ${completed && html`<button type="button" class="plain" aria-pressed=${original} title="The pixels are the same; the metadata and the bytes differ" onClick=${() => setOriginal(original ? -1 : index)}>Show the original</button>`}
          ${kept.button}</div>
      </div>
      <div class="viewer-right">
        ${image.status === 'failed' && html`<${Failure} key=${`failure ${index}`} job=${job} image=${image} />`}
        ${!completed && image.status !== 'failed' && html`<p class="faint">This image is ${imageState(image).word}. Its texts and values are here when it is completed; the page updates by itself.</p>`}
        ${image.uncaptioned && html`<${Uncaptioned} key=${`uncaptioned ${index}`} job=${job} image=${image} captions=${captions} />`}
        ${error && html`<${Missing} error=${error} reload=${reload} />`}
        ${completed && !record && !error && html`<${Loading} />`}
        ${record && html`<${Warnings} record=${record} />
          <${Texts} key=${`texts ${index}`} record=${record} />
          <${Photo} record=${record} />
          <${Look} record=${record} />
          <${File} record=${record} image=${image} />
          <section><h2>What was written</h2><ul class="written">${written(record).map((sentence) => html`<li key=${sentence}>${sentence}</li>`)}
            ${record.processed?.replaced?.map((text) => html`<li key=${text}>A stock text of a camera or program was replaced: “<bdi>${text}</bdi>”.</li>`)}</ul></section>`}
        <${Similar} job=${job} index=${index} similar=${similar} query=${query} onGo=${go} />
        ${record && html`<${Details} name="table" title="All values" open=${open} onToggle=${toggle}>${() => html`<${Table} record=${record} search=${search} onSearch=${setSearch} />`}<//>
          <${Details} name="json" title="JSON" open=${open} onToggle=${toggle}>${() => html`<${Json} record=${record} />`}<//>`}
      </div>
    </div>`;
}

// Missing says that the results of a completed image are not there.
function Missing({ error, reload }) {
  if (error.status !== 404) return html`<${ErrorNote} error=${error} title="The record could not be read" retry=${reload} />`;
  return html`<div class="note bad"><div><p class="note-title">The results of this image are no longer kept.</p>
    <p>Files are deleted some time after the end of their job. Send the image again to process it again.</p></div></div>`;
}

function Warnings({ record }) {
  const all = [...(record.warnings ?? []), ...(record.processed?.warnings ?? [])];
  return all.length > 0 && html`<div class="note warn"><div><p class="note-title">${all.length === 1 ? 'A warning' : `${all.length} warnings`}</p>
    <ul>${all.map((text, i) => html`<li key=${i}><bdi>${text}</bdi></li>`)}</ul></div></div>`;
}

// useKeys listens for keys anywhere on the page, except where they have a meaning of their own.
function useKeys(keys) {
  const latest = useRef(keys);
  latest.current = keys;
  useEffect(() => {
    const press = (event) => {
      const act = Object.hasOwn(latest.current, event.key) && latest.current[event.key];
      if (!act || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || event.isComposing) return;
      if (event.target.closest?.('input, textarea, select, [contenteditable], dialog') || document.querySelector('dialog[open]')) return;
      if (event.key !== 'Escape' && event.target.closest?.('[data-own-keys]')) return;
      event.preventDefault();
      act();
    };
    addEventListener('keydown', press);
    return () => removeEventListener('keydown', press);
  }, []);
}

// A screen reader hears how an image that was open has ended.
function useStates(image) {
  const last = useRef(image);
  useEffect(() => {
    const before = last.current;
    last.current = image;
    if (before && image && before.index === image.index && before.status !== image.status) announce(`This image is ${imageState(image).word}`);
  }, [image]);
}
