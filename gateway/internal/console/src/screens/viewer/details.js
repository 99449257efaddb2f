// The whole record: as a table with units and descriptions, and as JSON.
import { html, useEffect, useId, useMemo, useState } from '../../lib/preact.js';
import { announce, CopyButton, ErrorNote, Loading } from '../../lib/ui.js';
import { useSchema } from './record.js';
import { descriptionOf, matches, textOf, valuesOf } from './values.js';

/** Details shows a part that is built only while it is open. open has the names of the open ones. */
export function Details({ name, title, open, onToggle, children }) {
  const shown = open.has(name);
  const toggle = (event) => event.currentTarget.open !== shown && onToggle(name, event.currentTarget.open);
  return html`<details open=${shown} onToggle=${toggle}><summary>${title}</summary>${shown && children()}</details>`;
}

/** Json shows the record as it is stored. */
export function Json({ record }) {
  const text = useMemo(() => JSON.stringify(record, null, 2), [record]);
  return html`<div class="json"><div class="row json-bar"><${CopyButton} text=${text} label="Copy the JSON">Copy<//></div>
    <pre tabindex="0" data-own-keys role="region" aria-label="JSON of the record"><code>${text}</code></pre></div>`;
}

/** Table shows every value of the record with what the schema says about it. */
export function Table({ record, search, onSearch }) {
  const { schema, error, reload } = useSchema();
  const id = useId();
  const values = useMemo(() => valuesOf(record).map((value) => ({ ...value, description: schema ? descriptionOf(schema, value.path) : '' })), [record, schema]);
  const found = useMemo(() => values.filter((value) => matches(value, value.description, search)), [values, search]);
  const count = search.trim() ? `${found.length} of ${values.length} values` : `${values.length} values`;
  const [searched, setSearched] = useState(false);
  useEffect(() => {
    if (searched) announce(count);
  }, [count]);
  const groups = new Map();
  for (const value of found) groups.set(value.group, [...(groups.get(value.group) ?? []), value]);
  return html`<div class="row search"><label for=${id} class="visually-hidden">Search the values</label>
      <input id=${id} type="search" class="grow" placeholder="Search the values" autocomplete="off" spellcheck=${false} value=${search}
        onInput=${(event) => { setSearched(true); onSearch(event.currentTarget.value); }} /> <span class="faint">${count}</span></div>
    <${ErrorNote} error=${error} title="The descriptions could not be loaded" retry=${reload} />
    ${!schema && !error && html`<${Loading} />`}
    ${found.length === 0 ? html`<p class="faint">No value has these words.</p>` : html`<table class="values"><thead class="visually-hidden"><tr><th>Name</th><th>Value</th></tr></thead>
      ${[...groups].map(([group, members]) => html`<tbody key=${group}>
        ${group && html`<tr class="group"><th colspan="2" scope="rowgroup"><code>${group}</code></th></tr>`}
        ${members.map(({ path, value, description }) => html`<tr key=${path}><th scope="row"><code>${path}</code></th><td><${Text} value=${value} path=${path} />${description && html`<small>${description}</small>`}</td></tr>`)}
      </tbody>`)}</table>`}`;
}

function Text({ value, path }) {
  const text = textOf(value);
  const swatch = /(?:^mean_color|\.hex)$/.test(path) && html`<span class="swatch" style=${{ background: text }} aria-hidden="true"></span> `;
  return Array.isArray(text) ? html`<ul role="list">${text.map((each, i) => html`<li key=${i}><bdi>${each}</bdi></li>`)}</ul>` : html`${swatch}<bdi>${text}</bdi>`;
}
