// The dead letters: messages that no service could process.
import { request } from '../../lib/api.js';
import { jobsChanged } from '../../lib/counts.js';
import { bytes, number, plural, shortId } from '../../lib/format.js';
import { useLoad } from '../../lib/load.js';
import { html, useEffect, useRef, useState } from '../../lib/preact.js';
import { href } from '../../lib/router.js';
import { announce, confirm, EmptyState, ErrorNote, Icon, Loading, Time } from '../../lib/ui.js';
import { ended, grouped } from './letters.js';

const step = 50; // images that are shown at first, and with each click

/** DeadLetters is the list, with what an operator can do. total is their present number, or undefined
 * if it is unknown: the list is read again when that has changed. onChange is called after a replay
 * or a removal. */
export function DeadLetters({ total, onChange }) {
  const { data, error, loading, reload } = useLoad(async (signal) => (await request('GET', 'api/v1/dead-letters', { signal })).data);
  const [shown, setShown] = useState(step);
  const [busy, setBusy] = useState('');
  const [outcome, setOutcome] = useState(null); // {tone, title, text, job, error, again}
  useChanges(total, data, error, loading, reload);

  const act = async (group, action) => {
    const { queue, trace, letters } = group;
    setBusy(group.key);
    setOutcome(null);
    try {
      const path = `api/v1/dead-letters/${encodeURIComponent(queue)}/${encodeURIComponent(trace)}`;
      const { data: done } = action === 'replay' ? await request('POST', `${path}/replay`) : await request('DELETE', path);
      const result = ended(done.dead_letters, action);
      setOutcome(result);
      announce(result.title);
      jobsChanged();
      onChange();
      reload();
    } catch (err) {
      if (err.status === 404) reload(); // another operator was first
      const title = action === 'replay' ? 'The dead letter was not replayed' : 'The dead letter was not discarded';
      if (err.status === 409 && err.retryAfter > 0) err.advice = `Another operator, or the command gateway dead-letters, reads this queue at the moment. Try again in ${err.retryAfter} s.`;
      else if (err.status === 409) err.advice = 'Discard it if it has no use any more, or send the image again.';
      else if (err.status === 404) err.advice = 'Somebody has replayed or discarded it in the meantime.';
      setOutcome({ title, error: err, again: err.status === 404 ? undefined : () => act(group, action), letters });
    }
    setBusy('');
  };
  const replay = async (group) => {
    if (await confirm({
      title: 'Replay this dead letter?', action: 'Replay', danger: false,
      text: 'If its job has ended, a new job retries all failed images of that job. If the image is still open, its message goes back to the queue. Fix the cause first: a replay of a fault fails again.',
    })) act(group, 'replay');
  };
  const discard = async (group) => {
    if (await confirm({
      title: 'Discard this dead letter?', action: 'Discard',
      text: 'The message is deleted and cannot be replayed. Its image stays failed; its job can still be retried.',
    })) act(group, 'discard');
  };

  const groups = data ? grouped(data.dead_letters) : [];
  return html`<div class="row system-head"><h2 id="dead-letters">Dead letters${data && groups.length > 0 && html` <span class="faint">${number(data.dead_letters.length)}${data.truncated && '+'}</span>`}</h2>
      <button type="button" class="plain" disabled=${loading} onClick=${reload}>Refresh<span class="visually-hidden"> the dead letters</span></button></div>
    <${Outcome} outcome=${outcome} onClose=${() => setOutcome(null)} />
    <${ErrorNote} error=${explained(error)} title="The dead letters could not be read" retry=${reload} />
    ${!data && !error && html`<${Loading} />`}
    ${data && groups.length === 0 && html`<${EmptyState} title="No dead letters.">Every message could be processed, so there is nothing to do.<//>`}
    ${data?.truncated && html`<p class="faint">A queue has more than this list shows. Replay or discard some, or use <code>gateway dead-letters</code>.</p>`}
    ${groups.length > 0 && html`<ul class="list system-letters" aria-labelledby="dead-letters">${groups.slice(0, shown).map((group) => html`<${Letter} key=${group.key} group=${group} busy=${busy} onReplay=${replay} onDiscard=${discard} />`)}</ul>`}
    ${groups.length > shown && html`<button type="button" onClick=${() => setShown(shown + step)}>Show ${number(Math.min(step, groups.length - shown))} more</button>`}`;
}

function explained(error) {
  if (error?.status === 409) error.advice = 'Another operator, or the command gateway dead-letters, reads them at the moment. Try again in a few seconds.';
  return error;
}

// useChanges reads the list again when the number of dead letters differs from it for two updates:
// those that somebody reads at the moment are not counted. What could not be read is read again too.
function useChanges(total, data, error, loading, reload) {
  const differs = useRef(0);
  useEffect(() => {
    if (total === undefined || loading) return;
    if (error) reload();
    if (error || !data) return;
    const listed = data.dead_letters.length;
    const same = total.sum === listed || (data.truncated && total.sum > listed);
    differs.current = same ? 0 : differs.current + 1;
    if (differs.current < 2) return;
    differs.current = 0;
    reload();
  }, [total]);
}

// Letter is an image with its dead letters in one queue, which are replayed and discarded together.
function Letter({ group, busy, onReplay, onDiscard }) {
  const { queue, trace, letters } = group;
  const [first] = letters;
  const name = first.original_filename || (first.job_id ? `Image ${first.index + 1}` : 'A message');
  return html`<li>
    <div class="grow">
      <p class="system-letter">${first.job_id ? html`<a href=${href('viewer', { id: first.job_id, index: first.index })}><bdi>${name}</bdi></a>` : html`<bdi>${name}</bdi>`}
        ${letters.length > 1 && html` <span class="faint">${plural(letters.length, 'dead letter')}</span>`}</p>
      ${[...new Set(letters.map((letter) => letter.not_understood || letter.reason))].map((reason) => html`<p key=${reason} class="system-why"><bdi>${reason}</bdi></p>`)}
      <p class="faint system-facts"><span class="mono">${queue}</span>
        ${first.job_id && html`<span>job <a class="mono" href=${href('job', { id: first.job_id })}>${shortId(first.job_id)}</a></span>`}
        ${first.died_at && html`<span><${Time} value=${first.died_at} /></span>`}
        <span>attempt ${first.attempt}</span><span>${bytes(first.bytes)}</span></p>
      ${!trace && html`<p class="faint">This message names no image. Only <code>gateway dead-letters replay -drop</code> removes it.</p>`}
    </div>
    ${trace && html`<span class="row"><button type="button" disabled=${busy !== ''} aria-label=${`Replay ${name}`} onClick=${() => onReplay(group)}>${busy === group.key ? 'Working…' : 'Replay…'}</button>
      <button type="button" class="danger" disabled=${busy !== ''} aria-label=${`Discard ${name}`} onClick=${() => onDiscard(group)}>Discard…</button></span>`}
  </li>`;
}

function Outcome({ outcome, onClose }) {
  if (!outcome) return null;
  const { tone, title, text, job, error, again } = outcome;
  if (error) return html`<${ErrorNote} error=${error} title=${title} retry=${again} />`;
  return html`<div class=${`note ${tone}`}><div><p class="note-title">${title}</p>
    ${text && html`<p><bdi>${text}</bdi></p>`}${job && html`<p><a href=${href('job', { id: job })}>Show the new job <span class="mono">${shortId(job)}</span></a></p>`}</div>
    <button type="button" class="plain icon" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button></div>`;
}
