// The list of jobs.
import { countText, useCounts } from '../lib/counts.js';
import { date, number, plural } from '../lib/format.js';
import { html, useCallback, useEffect, useMemo, useRef, useState } from '../lib/preact.js';
import { href, navigate } from '../lib/router.js';
import { read, write } from '../lib/storage.js';
import { announce, classes, EmptyState, ErrorNote, Heading, Loading } from '../lib/ui.js';
import { extras, filtered, filterOf, hasState, narrowed, states, withState, without } from './jobs/filter.js';
import { newJobs } from './jobs/list.js';
import { useList } from './jobs/load.js';
import { Row } from './jobs/row.js';
import { Search } from './jobs/search.js';
import { Result, Selection, useBulk } from './jobs/selection.js';

const maxAlone = 1000; // jobs that are loaded without a click

export default function Jobs({ query, limits, caller }) {
  const filter = filterOf(query);
  const [paused, setPaused] = useState(read('jobs.paused', false, 'session'));
  const source = useList(filter, paused);
  const { list, stale } = source;
  const [selected, setSelected] = useState(new Set());
  const chosen = useMemo(() => list.jobs.filter((job) => selected.has(job.job_id)), [list.jobs, selected]);
  const onSelect = useSelect(list.jobs, setSelected);
  const bulk = useBulk((failed) => {
    setSelected(new Set(failed));
    source.look();
  });
  const name = JSON.stringify(filter);
  useEffect(() => setSelected(new Set()), [name]);
  const go = (next) => navigate(href('jobs', {}, next), { replace: true });
  const pause = () => {
    write('jobs.paused', paused ? null : true, 'session');
    setPaused(!paused);
    announce(paused ? 'The list is updated again' : 'The list is not updated');
    if (paused) source.look();
  };
  useAnnouncements(name, source);
  const captions = Boolean(limits.captions);
  const empty = !source.loading && !source.error && !stale && list.jobs.length === 0;

  return html`<${Heading}>Jobs<//>
    <div class="row jobs-tools">
      <${Search} value=${filter.q ?? ''} onChange=${(q) => go({ ...without(filter, 'q'), ...(q && { q }) })} />
      ${limits.keys && caller?.operator && html`<${Owner} value=${filter.owner ?? ''} onChange=${(owner) => go({ ...without(filter, 'owner'), ...(owner && { owner }) })} />`}
      <select aria-label="Order" value=${filter.order === 'oldest' ? 'oldest' : ''} onChange=${(event) => go({ ...without(filter, 'order'), ...(event.currentTarget.value && { order: 'oldest' }) })}>
        <option value="">Newest first</option><option value="oldest">Oldest first</option></select>
      <button type="button" aria-pressed=${paused} onClick=${pause}>Pause updates</button>
    </div>
    <${States} filter=${filter} captions=${captions} />
    <${Extras} filter=${filter} />
    <${Result} result=${bulk.result} onClose=${bulk.close} />
    ${list.waiting && !stale && html`<div class="jobs-new"><button type="button" class="primary" onClick=${source.showNew}>${newText(list)}</button></div>`}
    ${empty && list.token === null && html`<${Empty} filter=${filter} />`}
    ${list.jobs.length > 0 && html`<div class=${classes('jobs', stale && 'stale')} aria-busy=${stale}>
      <div class="jobs-head"><${All} jobs=${list.jobs} chosen=${chosen} onChange=${(on) => setSelected(new Set(on ? list.jobs.map((job) => job.job_id) : []))} /></div>
      <ul class="jobs-list" aria-label="Jobs">${list.jobs.map((job) => html`<${Row} key=${job.job_id} job=${job} selected=${selected.has(job.job_id)} onSelect=${onSelect} captions=${captions} />`)}</ul></div>`}
    <${ErrorNote} error=${source.error} title="The list could not be read" retry=${source.more} />
    ${source.error?.status === 400 && html`<p><a class="button" href=${href('jobs')}>Clear the filters</a></p>`}
    <${More} source=${source} />
    <${Selection} jobs=${chosen} bulk=${bulk} onClear=${() => setSelected(new Set())} />`;
}

function newText({ jobs, waiting }) {
  const n = newJobs({ jobs }, waiting).length;
  return n === waiting.jobs.length && waiting.token ? `${number(n)}+ new jobs` : plural(n, 'new job');
}

// useSelect returns a function that stays the same. With Shift, it selects all rows up to the last one.
function useSelect(jobs, setSelected) {
  const latest = useRef({ jobs, last: '' });
  latest.current.jobs = jobs;
  return useCallback((id, on, shift) => {
    const { jobs: rows, last } = latest.current;
    const at = [rows.findIndex((job) => job.job_id === last), rows.findIndex((job) => job.job_id === id)].toSorted((a, b) => a - b);
    const ids = shift && at[0] >= 0 ? rows.slice(at[0], at[1] + 1).map((job) => job.job_id) : [id];
    latest.current.last = id;
    setSelected((old) => {
      const next = new Set(old);
      for (const each of ids) next[on ? 'add' : 'delete'](each);
      return next;
    });
  }, []);
}

function All({ jobs, chosen, onChange }) {
  const box = useRef(null);
  const some = chosen.length > 0 && chosen.length < jobs.length;
  useEffect(() => { box.current.indeterminate = some; }, [some]);
  return html`<label class="check"><input ref=${box} type="checkbox" checked=${chosen.length === jobs.length} onChange=${(event) => onChange(event.currentTarget.checked)} />
    <span>${jobs.length === 1 ? 'Select the job shown' : `Select all ${number(jobs.length)} shown`}</span></label>`;
}

// States are the filters that exclude each other, with the present numbers of jobs. The gateway counts
// all jobs, so there are no numbers beside a search or another filter.
function States({ filter, captions }) {
  const counts = useCounts();
  const text = ({ counts: names }) => {
    if (!counts || narrowed(filter)) return '';
    const sum = names.reduce((total, each) => total + counts[each], 0);
    return countText({ sum, at_least: names.some((each) => counts.at_least?.includes(each)) ? ['sum'] : [] }, 'sum');
  };
  const shown = states.filter((state) => !state.query?.uncaptioned || captions || filter.uncaptioned || counts?.uncaptioned > 0);
  return html`<nav aria-label="Filters"><ul class="chips jobs-states">${shown.map((state) => html`<li key=${state.word}>
    <a class="chip" href=${href('jobs', {}, withState(filter, state))} aria-current=${hasState(filter, state) ? 'true' : undefined}>${state.word}${text(state) && html` <span class="jobs-count">${text(state)}</span>`}</a></li>`)}</ul></nav>`;
}

// Extras are the filters for which there is no control.
function Extras({ filter }) {
  const shown = [
    ...extras(filter),
    ...(states.some((state) => hasState(filter, state)) ? [] : [{ name: 'status', word: 'State', value: [filter.status, filter.failed_images && 'with failed images', filter.uncaptioned && 'no caption'].filter(Boolean).join(', ') }]),
  ];
  if (shown.length === 0) return null;
  return html`<ul class="chips" aria-label="Further filters">${shown.map(({ name, word, value }) => html`<li key=${name}>
    <a class="chip" href=${href('jobs', {}, name === 'status' ? withState(filter, states[0]) : without(filter, name))} title="Remove this filter">${word}: <bdi class="jobs-extra">${value}</bdi> <span aria-hidden="true">×</span><span class="visually-hidden">, remove</span></a></li>`)}</ul>`;
}

// Owner is the filter for the jobs of one API key. An operator sees the jobs of all.
function Owner({ value, onChange }) {
  const submit = (event) => {
    event.preventDefault();
    onChange(new FormData(event.currentTarget).get('owner').trim());
  };
  return html`<form class="jobs-owner" onSubmit=${submit}><input key=${value} name="owner" aria-label="Name of an API key" placeholder="Jobs of key…" size="12" maxlength="64" autocomplete="off" spellcheck=${false} defaultValue=${value} onChange=${(event) => event.currentTarget.form.requestSubmit()} /></form>`;
}

function Empty({ filter }) {
  if (!filtered(filter)) {
    return html`<${EmptyState} title="No jobs yet."><a class="button primary" href=${href('new')}>Send images</a><//>`;
  }
  return html`<${EmptyState} title=${filter.q ? html`No job matches “<bdi>${filter.q}</bdi>”${Object.keys(without(filter, 'q', 'order')).length > 0 && ' with these filters'}.` : 'No job matches.'}>
    ${filter.q && html`<p>The search looks for a part of a file name or of a custom ID, and for the start of a job’s ID.</p>`}
    <a class="button" href=${href('jobs', {}, filter.order && { order: filter.order })}>Clear the filters</a><//>`;
}

// More loads the next pages when it comes into view.
function More({ source: { list, loading, error, stale, more } }) {
  const end = useRef(null);
  const going = list.token !== null && !error;
  const shown = list.jobs.length;
  const before = useRef(-1);
  useEffect(() => {
    if (!going || loading || shown === 0 || shown >= maxAlone || before.current === shown) return undefined; // what found nothing asks first
    const observer = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      before.current = shown;
      more();
    }, { rootMargin: '300px' });
    observer.observe(end.current);
    return () => observer.disconnect();
  }, [going, loading, shown]);
  if (loading) return shown === 0 || list.token !== null || stale ? html`<${Loading}>${list.searched && !stale ? `Searching before ${date(list.searched)}…` : 'Loading…'}<//>` : null;
  if (!going) return null;
  return html`<div ref=${end} class="jobs-more">
    ${list.searched && html`<p class="faint">${shown === 0 ? 'No job found yet: searched' : 'Searched'} up to ${date(list.searched)}.</p>`}
    <button type="button" onClick=${more}>${shown === 0 ? 'Search further' : 'Show more'}</button></div>`;
}

// A screen reader hears what a filter has found, and that there are new jobs.
function useAnnouncements(name, { list, loading, error, stale }) {
  const before = useRef(name);
  useEffect(() => {
    if (loading || error || stale || before.current === name) return;
    before.current = name;
    announce(list.jobs.length === 0 ? 'No job found' : `${plural(list.jobs.length, 'job')}${list.token ? ' and more' : ''}`);
  }, [name, loading, stale]);
  const text = list.waiting ? newText(list) : '';
  useEffect(() => {
    if (text) announce(text);
  }, [text]);
}
