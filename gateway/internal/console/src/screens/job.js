// One job and its images.
import { request } from '../lib/api.js';
import { duration, plural, shortId } from '../lib/format.js';
import { useJob } from '../lib/live.js';
import { useInterval, useLoad } from '../lib/load.js';
import { html, useEffect, useRef, useState } from '../lib/preact.js';
import { href } from '../lib/router.js';
import { ended, jobState, open } from '../lib/state.js';
import { announce, Badge, CopyButton, EmptyState, ErrorNote, Heading, Icon, JobProgress, Loading, Time } from '../lib/ui.js';
import { Actions } from './job/actions.js';
import { Filters, filters } from './job/filters.js';
import { Grid, itemsOf, keyOf } from './job/grid.js';
import { forgetNote, noteOf } from './job/made.js';
import { useRecords } from './job/records.js';
import { Similar, similarItems, useSimilar } from './job/similar.js';

export default function Job({ params: { id }, query, limits, caller }) {
  const { job, connection, error, gone } = useJob(id);
  const state = job && jobState(job);
  const title = !job || gone ? '' : ended(job) ? `${capital(state.word)} · ` : `${job.completed + job.failed}/${job.total_images} · `;
  useAnnouncements(gone ? null : job);
  const heading = html`<${Heading} class="job-heading" title=${`${title}Job ${shortId(id)}`}>Job <span class="mono">${shortId(id)}</span>
    <${CopyButton} text=${id} label="Copy the job's ID" />${job && !gone && html` <${Badge} state=${{ ...state, word: capital(state.word) }} />`}<//>`;
  if (gone) {
    return html`${heading}<${EmptyState} title=${job ? 'This job was deleted.' : 'There is no such job.'}>
      ${job ? 'Jobs are deleted some time after their end, with their files.' : 'It was deleted, it belongs to another API key, or the address is not complete.'} See the <a href=${href('jobs')}>list of jobs</a> or <a href=${href('new')}>send images</a>.<//>`;
  }
  if (!job) return html`${heading}<${ErrorNote} error=${error} title="The job could not be read" />${!error && html`<${Loading} />`}`;
  return html`${heading}
    <${Facts} job=${job} connection=${connection} error=${error} />
    <${JobProgress} job=${job} />
    <${MadeNote} job=${job} />
    <${Images} job=${job} query=${query} limits=${limits} caller=${caller} />`;
}

const capital = (text) => text.replace(/^./, (c) => c.toUpperCase());

const connections = { live: 'Live', events: 'Live, by events', polling: 'Updated every 3 s', offline: 'No connection: the last known state' };

// Facts is what is known about the job as a whole, with links to the jobs around it.
function Facts({ job, connection, error }) {
  const { label, upload, ...metadata } = job.metadata ?? {};
  const took = job.completed_at && new Date(job.completed_at) - new Date(job.created_at);
  return html`<${ErrorNote} error=${error?.status === 401 ? error : null} />
    <p class="job-facts">${label && html`<span><bdi class="job-label">${label}</bdi></span>`}<span><${Time} value=${job.created_at} /></span>
      ${ended(job) ? took >= 1000 && html`<span>took ${duration(took)}</span>` : html`<span class="job-connection">${connections[connection]}</span>`}
      ${upload && html`<span><a href=${href('upload', { id: upload })}>part of an upload</a></span>`}
      ${job.retry_of && html`<span>made from job <a class="mono" href=${href('job', { id: job.retry_of })}>${shortId(job.retry_of)}</a></span>`}
      ${Object.entries(metadata).map(([name, value]) => html`<span key=${name}><bdi>${name}</bdi>: <bdi>${value}</bdi></span>`)}</p>
    ${ended(job) && html`<${Successors} id=${job.job_id} />`}`;
}

const shownSuccessors = 10;

// Successors are the jobs that were made from images of this one.
function Successors({ id }) {
  const { data, reload } = useLoad(
    async (signal) => (await request('GET', 'api/v1/batch', { query: { retry_of: id, view: 'summary', limit: shownSuccessors }, signal, background: true })).data, [id]);
  const jobs = data?.jobs ?? [];
  useInterval(() => jobs.some((job) => !ended(job)) && reload(), 5000);
  if (jobs.length === 0) return null;
  return html`<p class="job-facts">${jobs.map((job, i) => html`<span key=${job.job_id}>${i === 0 && 'processed again as '}<a class="mono" href=${href('job', { id: job.job_id })}>${shortId(job.job_id)}</a> <${Badge} job=${job} /></span>`)}
    ${data.next_page_token && html`<span>and more</span>`}</p>`;
}

// MadeNote says what was just made, and whether the job has all images that it should have.
function MadeNote({ job }) {
  const [, again] = useState(0);
  const note = noteOf(job.job_id);
  if (!note) return null;
  const lost = note.wanted - job.total_images;
  const close = () => {
    forgetNote(job.job_id);
    again((n) => n + 1);
  };
  return html`<div class=${`note ${lost > 0 ? 'warn' : 'good'}`}><p><span class="note-title">This is a new job.</span> ${note.text}
    ${lost > 0 && ` ${plural(lost, 'image was', 'images were')} left out, because the gateway has no file of ${lost === 1 ? 'it' : 'them'}: send ${lost === 1 ? 'it' : 'them'} again.`}</p>
    <button type="button" class="plain icon" aria-label="Close" onClick=${close}><${Icon} name="close" /></button></div>`;
}

// Images is the grid with its filters and actions.
function Images({ job, query, limits, caller }) {
  const id = job.job_id;
  const similar = useSimilar(job);
  const recordOf = useRecords([job]);
  const [selected, select] = useState(new Set());
  const [dialog, setDialog] = useState('');
  const given = query.get('show') ?? 'all';
  const show = given in filters || given === 'similar' ? given : 'all';
  const can = ended(job) && job.total_images > 1; // an image can be selected
  const items = show === 'similar' ? similarItems(job, similar.groups) : itemsOf([job], show);
  const chosen = job.images.filter((image) => selected.has(keyOf(id, image.index))).map((image) => image.index);
  const props = { selected, onSelect: can ? select : undefined, query: show === 'all' ? {} : { show } };
  const selectAll = (images) => select(new Set(images.map((item) => item.key)));
  const failed = itemsOf([job], 'failed');
  return html`<${Actions} job=${job} limits=${limits} caller=${caller} recordOf=${recordOf} chosen=${chosen} dialog=${dialog} onDialog=${setDialog} />
    ${job.total_images > 1 && html`<div class="row job-bar">
      <${Filters} jobs=${[job]} show=${show} href=${(name) => href('job', { id }, { show: name })} more=${[{ name: 'similar', word: 'Similar', count: similarItems(job, similar.groups).length }]} />
      ${can && chosen.length === 0 && html`<span class="row job-select"><button type="button" class="plain" onClick=${() => selectAll(items)}>Select all</button>
        ${failed.length > 0 && html`<button type="button" class="plain" onClick=${() => selectAll(failed)}>Select failed</button>`}</span>`}
    </div>`}
    ${show === 'similar' ? html`<${Similar} job=${job} similar=${similar} ...${props} />`
      : html`<${Grid} jobs=${[job]} filter=${show} ...${props}><${EmptyState} title=${`No image here: none is in “${filters[show].word}”.`}><a href=${href('job', { id })}>Show all images</a><//><//>`}
    ${chosen.length > 0 && html`<div class="selection" role="region" aria-label="Selection"><span>${plural(chosen.length, 'image')} selected</span>
      <button type="button" class="primary" onClick=${() => setDialog('reprocess')}>Reprocess…</button>
      ${failed.length > 0 && html`<button type="button" onClick=${() => selectAll(failed)}>Select failed</button>`}
      <button type="button" onClick=${() => select(new Set())}>Clear</button></div>`}`;
}

const announceEvery = 5000; // ms

// A screen reader hears how far the job is, now and then, and always its end.
function useAnnouncements(job) {
  const last = useRef({ id: '', ended: true, time: 0, failed: 0 });
  useEffect(() => {
    if (!job) return;
    const before = last.current;
    const now = { id: job.job_id, ended: ended(job), time: Date.now(), failed: job.failed };
    if (before.id !== now.id) {
      last.current = now; // the heading says how the job is
    } else if (now.ended) {
      if (!before.ended) announce(`Job ${jobState(job).word}`);
      last.current = now;
    } else if (now.time - before.time >= announceEvery || now.failed > before.failed) {
      announce(`${job.completed} of ${job.total_images} done${job.failed ? `, ${job.failed} failed` : ''}, ${open(job)} open`);
      last.current = now;
    }
  }, [job]);
}
