// The list of chosen images. Only the blocks near the visible part of the page are rendered, so
// that ten thousand images are no more work than a hundred.
import { ago, bytes, number, plural } from '../../lib/format.js';
import { html, useEffect, useLayoutEffect, useRef, useState } from '../../lib/preact.js';
import { announce } from '../../lib/ui.js';
import { useLocal } from './local.js';
import { remove, tick } from './selection.js';

const blockSize = 24;
const rowHeight = 3.5; // rem, as in new.css

const near = new WeakMap();
let observer = null;

function observe(element, listener) {
  observer ??= new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) near.get(target)?.(isIntersecting);
  }, { rootMargin: '1000px' });
  near.set(element, listener);
  observer.observe(element);
  return () => observer.unobserve(element);
}

function Block({ items, start, total, onRemove }) {
  const ref = useRef(null);
  const [visible, show] = useState(start === 0);
  // A block keeps the focus that it has.
  useEffect(() => observe(ref.current, (now) => show(now || ref.current.contains(document.activeElement))), []);
  return html`<div ref=${ref} class="new-block" role="presentation" style=${{ height: `${items.length * rowHeight}rem` }}>
    ${visible && items.map((item, i) => html`<${Row} key=${item.id} item=${item} position=${start + i + 1} total=${total} onRemove=${onRemove} />`)}
  </div>`;
}

function Thumb({ item }) {
  const src = useLocal(item.file);
  if (item.url) return html`<span class="new-thumb" aria-hidden="true">URL</span>`;
  return html`<span class="new-thumb">${src && html`<img src=${src} alt="" />`}</span>`;
}

function Row({ item, position, total, onRemove }) {
  const folder = item.url ? new URL(item.url).host : item.path.slice(0, Math.max(0, item.path.length - item.name.length - 1));
  return html`<div class="new-row" role="listitem" aria-posinset=${position} aria-setsize=${total}>
    <label><input type="checkbox" checked=${item.ticked} onChange=${(event) => tick(item.id, event.currentTarget.checked)} />
      <${Thumb} item=${item} />
      <span class="new-text"><bdi class="new-name" title=${item.path}>${item.name}</bdi>
        <span class="new-facts">${item.sentAt > 0 && html`<span class="badge tone-warn"><span aria-hidden="true">⚠</span> already sent ${ago(item.sentAt)}</span> `}
          ${!item.url && bytes(item.size)}${folder && html`${!item.url && ' · '}<bdi>${folder}</bdi>`}</span></span></label>
    <button type="button" class="plain icon" data-remove=${item.id} aria-label=${`Remove ${item.name}`} onClick=${() => onRemove(item.id)}><${Cross} /></button>
  </div>`;
}

const Cross = () => html`<svg class="drawing" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><path d="M4 4l8 8M12 4l-8 8" /></svg>`;

/** List shows the chosen images with a row for all of them. */
export function List({ items }) {
  const all = useRef(null);
  const list = useRef(null);
  const [focus, setFocus] = useState(0); // ID of the item that gets the focus, after the one before it was removed
  const ticked = items.filter((item) => item.ticked).length;
  const sent = items.filter((item) => item.sentAt > 0);
  useLayoutEffect(() => { all.current.indeterminate = ticked > 0 && ticked < items.length; });
  useLayoutEffect(() => {
    if (!focus) return;
    (list.current.querySelector(`[data-remove="${focus}"]`) ?? all.current).focus();
    setFocus(0);
  }, [focus]);
  const removeOne = (id) => {
    const i = items.findIndex((item) => item.id === id);
    const other = items[i + 1] ?? items[i - 1];
    remove([id]);
    if (other) setFocus(other.id);
    announce('Removed');
  };
  const blocks = [];
  for (let start = 0; start < items.length; start += blockSize) blocks.push(start);
  return html`<div class="new-list">
    <div class="new-all">
      <label><input ref=${all} type="checkbox" checked=${ticked === items.length} onChange=${(event) => tick(null, event.currentTarget.checked)} />
        <span>${ticked === items.length ? 'All' : `${number(ticked)} of ${number(items.length)}`} selected</span></label>
      ${sent.length > 0 && sent.length < items.length && html`<button type="button" class="plain" onClick=${() => remove(sent.map((item) => item.id))}>Remove ${plural(sent.length, 'sent one')}</button>`}
      <button type="button" class="plain" onClick=${() => remove()}>Remove all</button>
    </div>
    <div ref=${list} role="list" aria-label="Chosen images">
      ${blocks.map((start) => html`<${Block} key=${start} items=${items.slice(start, start + blockSize)} start=${start} total=${items.length} onRemove=${removeOne} />`)}
    </div>
  </div>`;
}
