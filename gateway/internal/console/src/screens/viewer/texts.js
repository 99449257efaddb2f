// The texts of an image, each with its origin, and what a model answered.
import { duration, number, plural } from '../../lib/format.js';
import { html, useState } from '../../lib/preact.js';
import { originOf } from '../../lib/origin.js';
import { Origin } from '../../lib/ui.js';

const longest = 700; // characters of a text, before "Show all"
const mostKeywords = 40;

const fields = [['title', 'Title'], ['description', 'Description'], ['keywords', 'Keywords'], ['alt_text', 'Alt text']];

/** Long shows the start of a long text, and all of it on request. */
export function Long({ text }) {
  const [all, show] = useState('');
  const letters = text.length > longest && all !== text ? `${Array.from(text.slice(0, longest)).slice(0, -1).join('')}…` : text;
  return html`<bdi class="long">${letters}</bdi>${letters !== text && html` <button type="button" class="plain more" onClick=${() => show(text)}>Show all</button>`}`;
}

/** Keywords shows keywords as chips. */
export function Keywords({ values }) {
  const [all, show] = useState(null);
  const shown = values.length > mostKeywords && all !== values ? values.slice(0, mostKeywords) : values;
  return html`<ul class="chips" role="list">${shown.map((word, i) => html`<li key=${i} class="chip"><bdi>${word}</bdi></li>`)}
    ${shown !== values && html`<li><button type="button" class="plain more" onClick=${() => show(values)}>Show all ${number(values.length)}</button></li>`}</ul>`;
}

const Value = ({ value }) => (Array.isArray(value) ? html`<${Keywords} values=${value} />` : html`<p><${Long} text=${value} /></p>`);

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** Texts shows the texts of a record. */
export function Texts({ record }) {
  return html`<section class="texts" aria-label="Texts">${fields.map(([field, word]) => html`<div key=${field} class=${`text text-${field}`}>
      <h2>${word} <${Origin} value=${originOf(record, field)} /></h2>
      ${record[field]?.length ? html`<${Value} value=${record[field]} />` : html`<p class="faint">None: neither the file nor a model has one.</p>`}
      ${field === 'keywords' && record.keyword_paths && html`<ul class="paths" role="list" aria-label="Keywords with levels">${record.keyword_paths.map((path) => html`<li key=${path}><bdi>${path.split('|').join(' › ')}</bdi></li>`)}</ul>`}
    </div>`)}
    <${Answer} record=${record} />
  </section>`;
}

// Answer shows what the model answered if that is not what is shown above.
function Answer({ record }) {
  const { caption } = record;
  const answered = fields.filter(([field]) => caption?.[field]?.length);
  if (answered.length === 0) return null;
  const cost = [
    caption.duration_ms !== undefined && `took ${duration(caption.duration_ms)}`,
    caption.prompt_tokens !== undefined && plural(caption.prompt_tokens + (caption.completion_tokens ?? 0), 'token'),
    caption.language && `language: ${caption.language}`,
  ].filter(Boolean).join(' · ');
  const name = html`<bdi>${caption.model || 'the model'}</bdi>`;
  const used = answered.filter(([field]) => same(caption[field], record[field]));
  if (used.length === answered.length) return html`<p class="faint">The answer of ${name}${cost && ` · ${cost}`}</p>`;
  const others = answered.filter((each) => !used.includes(each));
  return html`<details class="answer" open><summary>The answer of the model ${name}</summary>
    ${others.map(([field, word]) => html`<div key=${field}><h3>${word} <span class="origin">${verdict(record, field)}</span></h3><${Value} value=${caption[field]} /></div>`)}
    <p class="faint">${used.length > 0 && `Used as they are: ${used.map(([, word]) => word.toLowerCase()).join(', ')}. `}${capital(cost)}</p></details>`;
}

const capital = (text) => text.replace(/^./, (c) => c.toUpperCase());

const verdict = (record, field) => (originOf(record, field)?.origin === 'own' ? "not used: the file's own words win" : 'not used');
