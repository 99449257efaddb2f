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

/** Queues is the table of the work queues, in the order of the steps. */
export function Queues({ queues }) {
  if (queues.length === 0) return html`<${EmptyState} title="There are no queues." />`;
  const columns = [
    ['Waiting', 'Messages that wait for a reader'], ['Readers', 'Analyzers, processors or gateways that read the queue'], ['Retry', 'Messages that wait for another attempt'],
    ['Quarantine', 'Messages that were in flight when a process died; they are tried one at a time'], ['Dead', 'Messages that no service could process'],
  ];
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Queues"><table class="system-queues">
    <thead><tr><th scope="col">Queue</th><th scope="col">State</th>${columns.map(([name, title]) => html`<th key=${name} scope="col" class="number" title=${title}>${name}</th>`)}</tr></thead>
    <tbody>${queues.map((queue) => html`<tr key=${queue.name}>
      <th scope="row"><span class="mono">${queue.name}</span>${readers[queue.name] && html`<small>${readers[queue.name]}</small>`}</th>
      <td><${Badge} state=${stateOf(queue)} /></td>
      <td class="number"><${Count} value=${queue.messages} /></td><td class="number"><${Count} value=${queue.consumers} /></td><td class="number"><${Count} value=${queue.retry} /></td>
      <td class="number"><${Count} value=${queue.quarantine} warn /></td><td class="number"><${Count} value=${queue.dead} warn /></td></tr>`)}</tbody>
  </table></div>`;
}
