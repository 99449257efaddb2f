// What an operator wants to know first.
import { askForKey, caller as whoIs, request } from '../lib/api.js';
import { duration } from '../lib/format.js';
import { useInterval, useLoad } from '../lib/load.js';
import { html, useEffect, useRef, useState } from '../lib/preact.js';
import { announce, EmptyState, ErrorNote, Heading, Loading } from '../lib/ui.js';
import { DeadLetters } from './system/dead.js';
import { Dependencies, Queues, Work } from './system/queues.js';

const every = 5000; // ms between two updates
const stale = 20_000; // ms after which the state is called old

export default function System({ limits, caller }) {
  const latest = useRef(null);
  const { data, error, reload } = useLoad(async (signal) => {
    // Asked first, because a refused request would be an error in the browser's console.
    const { operator } = limits.keys ? caller ?? await whoIs({ signal }) : { operator: true };
    if (operator === false) return { refused: true };
    try {
      return { ...(await request('GET', 'api/v1/system', { signal, background: Boolean(latest.current) })).data, at: Date.now() };
    } catch (err) {
      if (err.status === 403 && err.code !== 'proxy') return { refused: true };
      throw err;
    }
  }, [limits.keys && caller?.operator]);
  latest.current = data;
  useInterval(() => data?.refused || reload(), every);
  useDown(data);
  if (data?.refused) return html`<${Heading}>System<//><${Refused} name=${caller?.name} />`;
  return html`<${Heading}>System<//>
    <${ErrorNote} error=${error} title=${data ? 'The state could not be updated' : 'The state of the system could not be read'} retry=${reload} />
    ${!data && !error && html`<${Loading} />`}
    ${data && html`<${Facts} system=${data} />
      <div class="system-columns"><section><h2>Dependencies</h2><${Dependencies} list=${data.dependencies} /></section>
        <section><h2>Work</h2><${Work} work=${data.work} /></section></div>
      <section><h2>Queues</h2><${Queues} queues=${data.queues} /></section>
      <section><${DeadLetters} total=${deadOf(data)} onChange=${reload} /></section>`}`;
}

// deadOf returns the number of dead letters on all queues as a new object for each update, or
// undefined if one is unknown.
function deadOf({ queues, at }) {
  const last = useRef({});
  if (last.current.at !== at) last.current = { at, sum: queues.reduce((sum, { dead }) => sum + (dead ?? NaN), 0) };
  return Number.isNaN(last.current.sum) ? undefined : last.current;
}

function Refused({ name }) {
  return html`<${EmptyState} title="Only operators see the state of the system.">
    <p>${name ? html`The key of <bdi>${name}</bdi> is not an operator's.` : "Your API key is not an operator's."} Ask whoever runs this gateway, or use an operator's key.</p>
    <button type="button" onClick=${() => askForKey()}>Use another key</button><//>`;
}

// The links are those that the operator has configured.
const places = { grafana: 'Grafana', rabbitmq: 'RabbitMQ' };

function Facts({ system: { version, go, started_at: started, links, at } }) {
  const shown = Object.entries(places).filter(([name]) => /^https?:/.test(links?.[name] ?? ''));
  return html`<p class="system-facts"><span>Imagebatch ${version}</span><span>${go}</span><${Running} since=${started} /><${Updated} at=${at} />
    ${shown.map(([name, word]) => html`<span key=${name}><a href=${links[name]} target="_blank" rel="noreferrer">${word}<span class="visually-hidden"> (opens in a new tab)</span> <span aria-hidden="true">↗</span></a></span>`)}</p>`;
}

function useTicks() {
  const [, tick] = useState(0);
  useInterval(() => tick((n) => n + 1), 1000);
}

function Running({ since }) {
  useTicks();
  const ms = Date.now() - new Date(since);
  return html`<span title=${`since ${new Date(since).toLocaleString()}`}>running for ${duration(Math.max(1000, ms - ms % 1000))}</span>`;
}

function Updated({ at }) {
  useTicks();
  const ms = Date.now() - at;
  return html`<span class=${ms > stale ? 'system-warn' : undefined}>${ms < 1000 ? 'updated now' : `updated ${duration(ms - ms % 1000)} ago`}</span>`;
}

// A screen reader hears when a dependency fails or works again.
function useDown(data) {
  const before = useRef(null);
  const down = data?.dependencies?.filter(({ ready }) => !ready).map(({ name }) => name).join(', ');
  useEffect(() => {
    if (down === undefined) return;
    if (before.current !== null && before.current !== down) announce(down ? `Not ready: ${down}` : 'All dependencies are ready');
    before.current = down;
  }, [down]);
}
