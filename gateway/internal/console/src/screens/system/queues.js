// The dependencies, the open work and the queues.
import { ago, date, number, plural } from '../../lib/format.js';
import { html } from '../../lib/preact.js';
import { Badge, classes, EmptyState } from '../../lib/ui.js';

const readers = { image_upload: 'read by analyzers', image_described: 'read by analyzers, with captions', metadata_generated: 'read by processors', image_processed: 'read by gateways' };

// Unknown is never 0: a broker that does not respond has not no messages.
const Count = ({ value, warn }) => (value === undefined ? html`<span class="faint">unknown</span>` : html`<span class=${classes(warn && value > 0 && 'system-warn')}>${number(value)}</span>`);

/** Dependencies shows whether the gateway reaches each of its servers. */
export function Dependencies({ list }) {
  if (list.length === 0) return html`<p class="faint">This gateway checks no dependencies.</p>`;
  return html`<ul class="list system-dependencies">${list.map(({ name, ready, reason }) => html`<li key=${name}>
    <span class="system-name">${name}</span> <${Badge} state=${ready ? { word: 'ready', tone: 'good' } : { word: 'not ready', tone: 'bad' }} />
    ${reason && html`<bdi class="system-reason">${reason}</bdi>`}</li>`)}</ul>`;
}

/** Work shows what is not done yet, of all gateways. */
export function Work({ work }) {
  if (!work) return html`<p>Open work: <span class="faint">unknown</span>, because the job store does not respond.</p>`;
  return html`<dl class="facts system-work">
    <dt>Open images</dt><dd>${number(work.open_images)}</dd>
    <dt>Oldest open job</dt><dd>${work.oldest_open ? html`<time datetime=${work.oldest_open} title=${date(work.oldest_open)}>${ago(work.oldest_open)}</time>` : 'none'}</dd>
    <dt>Not sent yet</dt><dd>${work.unsent > 0 ? html`<span class="system-warn">${plural(work.unsent, 'image')}</span> stored, but not on a queue yet` : '0'}</dd>
    <dt>Jobs kept</dt><dd>${number(work.jobs)}</dd></dl>`;
}

// stateOf says what is wrong with a queue, if anything is.
function stateOf({ messages, consumers, quarantine, dead }) {
  if (consumers === 0 && messages > 0) return { word: 'nobody reads', tone: 'warn' };
  if (dead > 0) return { word: plural(dead, 'dead letter'), tone: 'warn' };
  if (quarantine > 0) return { word: 'quarantine', tone: 'warn' };
  if (messages === undefined || consumers === undefined) return { word: 'unknown', tone: 'idle' };
  if (consumers === 0) return { word: 'idle, no reader', tone: 'idle' };
  return messages > 0 ? { word: 'working', tone: 'busy' } : { word: 'empty', tone: 'good' };
}

const columns = [
  { name: 'Waiting', member: 'messages', title: 'Messages that wait for a reader' },
  { name: 'Readers', member: 'consumers', title: 'Analyzers, processors or gateways that read the queue' },
  { name: 'Retry', member: 'retry', title: 'Messages that wait for another attempt' },
  { name: 'Quarantine', member: 'quarantine', title: 'Messages that were in flight when a process died, which are tried one at a time', warn: true },
  { name: 'Dead', member: 'dead', title: 'Messages that no service could process', warn: true },
];

/** Queues is the table of the work queues, in the order of the steps. The roles are explicit because
 * a narrow page shows each row as a card. */
export function Queues({ queues }) {
  if (queues.length === 0) return html`<${EmptyState} title="There are no queues." />`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Queues"><table class="system-queues" role="table">
    <thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">Queue</th><th role="columnheader" scope="col">State</th>${columns.map(({ name, title }) => html`<th key=${name} role="columnheader" scope="col" class="number" title=${title}>${name}</th>`)}</tr></thead>
    <tbody role="rowgroup">${queues.map((queue) => html`<tr key=${queue.name} role="row">
      <th role="rowheader" scope="row"><span class="mono">${queue.name}</span>${readers[queue.name] && html`<small>${readers[queue.name]}</small>`}</th>
      <td role="cell"><${Badge} state=${stateOf(queue)} /></td>
      ${columns.map(({ name, member, warn }) => html`<td key=${name} role="cell" class="number" data-name=${name}><${Count} value=${queue[member]} warn=${warn} /></td>`)}</tr>`)}</tbody>
  </table></div>`;
}
