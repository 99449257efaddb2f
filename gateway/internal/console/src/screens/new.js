// Sending images.
import { bytes, number, plural } from '../lib/format.js';
import { html, useCallback, useEffect, useRef, useState } from '../lib/preact.js';
import { navigate } from '../lib/router.js';
import { read, write } from '../lib/storage.js';
import { announce, classes, Heading } from '../lib/ui.js';
import { fromInput } from './new/collect.js';
import { dragging, usePaste } from './new/drop.js';
import { List } from './new/list.js';
import { CaptionNote, Interrupted, Refused } from './new/notes.js';
import { match } from './new/parts.js';
import { addFiles, addUrls, onFiles, remove, selection } from './new/selection.js';
import { busy, current, onSent, resume, start } from './new/sender.js';
import { placeOf, SendingPanel, sendingTitle } from './new/sending.js';
import { forgetUpload, interrupted } from './new/uploads.js';
import { UrlDialog } from './new/urls.js';

export default function New({ limits, caller }) {
  const { items, refused, note, reading } = selection.use();
  const { upload } = current.use();
  const [asking, ask] = useState(false); // for URLs
  const [captions, setCaptions] = useState(read('captions', true));
  const broken = useInterrupted(upload);
  const files = useRef(null);
  const folder = useRef(null);
  usePaste();
  useEffect(() => onSent((done) => {
    if (done.jobs.length === 0) return;
    done.seen = true;
    navigate(placeOf(done));
  }), []);

  const choose = useCallback((what) => (what === 'folder' ? folder : files).current.click(), []);
  const chosen = (event) => {
    addFiles(fromInput(event.currentTarget));
    event.currentTarget.value = ''; // the same files can be chosen again
  };
  const ticked = items.filter((item) => item.ticked);
  const size = ticked.reduce((sum, item) => sum + item.size, 0);
  const waits = upload && upload.state !== 'done';
  const small = waits || items.length > 0 || broken.upload;
  const allowed = caller?.captions !== false;
  const send = () => {
    start(ticked, { captions: limits.captions && !captions ? false : undefined, maxImages: limits.max_images });
    remove(ticked.map((item) => item.id));
  };
  const changeCaptions = (value) => {
    setCaptions(value);
    write('captions', value ? null : false);
  };

  return html`<${Heading} title=${sendingTitle(upload) || 'Send images'}>Send images<//>
    ${waits ? html`<${SendingPanel} upload=${upload} />` : broken.upload && html`<${Interrupted} ...${broken} onChoose=${choose} />`}
    ${!waits && upload && !upload.seen && html`<${SendingPanel} upload=${upload} />`}
    <section class=${classes('new-drop', small && 'small')} aria-label="Choose images">
      ${!small && html`<${Picture} />`}
      <p class="new-hint">Drop images or folders anywhere on this page, or paste them.</p>
      <div class="row">
        <button type="button" class=${small ? '' : 'primary'} onClick=${() => choose('files')}>Choose files</button>
        ${canChooseFolders && html`<button type="button" onClick=${() => choose('folder')}>Choose folder</button>`}
        <button type="button" onClick=${() => ask(true)}>Add URLs</button>
      </div>
      ${!small && html`<p class="faint">JPEG and PNG, up to ${bytes(limits.max_image_bytes)} each. Any number: they are sent in batches of up to ${plural(limits.max_images, 'image')}.</p>`}
      <input ref=${files} type="file" hidden multiple accept="image/jpeg,image/png" onChange=${chosen} />
      <input ref=${folder} type="file" hidden multiple webkitdirectory onChange=${chosen} />
    </section>
    ${reading !== null && html`<p class="new-reading">Reading files${reading > 0 && `: ${number(reading)} so far`}…</p>`}
    ${note && html`<p class="note new-note">${note}</p>`}
    <${Refused} refused=${refused} limit=${limits.max_image_bytes} />
    ${items.length > 0 && html`<${List} items=${items} />
      <div class="new-send">
        <${CaptionNote} captions=${limits.captions} allowed=${allowed} images=${ticked.length} value=${captions} onChange=${changeCaptions} />
        <div class="row"><span class="new-count">${plural(ticked.length, 'image')}${size > 0 && ` · ${bytes(size)}`}</span>
          ${waits
            ? html`<span>${busy(upload) ? 'You can send these when the upload above has ended.' : 'Continue or end the upload above first.'}</span>`
            : html`<button type="button" class="primary" disabled=${ticked.length === 0 || reading !== null} onClick=${send}>Send ${number(ticked.length)}</button>`}</div>
      </div>`}
    ${asking && html`<${UrlDialog} onClose=${() => ask(false)} onAdd=${(urls) => { ask(false); addUrls(urls); }} />`}
    <${DropHere} />`;
}

// Where a button vanishes with its click, the focus would start again at the top of the page.
globalThis.document?.addEventListener('click', ({ target }) => setTimeout(() => {
  if (!target.isConnected && document.activeElement === document.body) document.querySelector('h1')?.focus({ preventScroll: true });
}));

// Phones cannot choose folders.
const canChooseFolders = globalThis.document && 'webkitdirectory' in document.createElement('input') && !matchMedia('(hover: none) and (pointer: coarse)').matches;

const Picture = () => html`<svg class="new-picture" viewBox="0 0 48 40" width="72" height="60" aria-hidden="true"><rect x="1.5" y="1.5" width="45" height="37" rx="4" /><circle cx="14" cy="13" r="4" /><path d="M3 33l12-12 8 8 9-11 13 15" /></svg>`;

/** DropHere covers the page while files are dragged over it. */
function DropHere() {
  const { over } = dragging.use();
  return over ? html`<div class="new-over" aria-hidden="true"><span>Drop to add</span></div>` : null;
}

// useInterrupted returns the upload that was interrupted, and the files that were chosen again for it.
function useInterrupted(upload) {
  const [state, set] = useState({ upload: null, found: new Map(), changed: [] });
  const idle = !upload || upload.state === 'done';
  useEffect(() => {
    let stopped = false;
    if (idle) interrupted().then((stored) => !stopped && set({ upload: stored, found: new Map(), changed: [] }));
    return () => { stopped = true; };
  }, [idle]);
  const latest = useRef(state);
  latest.current = state;
  useEffect(() => onFiles((given) => {
    const { upload: stored, found } = latest.current;
    if (!stored || stored.complete) return given;
    const missing = { parts: stored.parts.map((part) => (part.jobId ? part : { ...part, items: part.items.filter((item) => !found.has(item)) })) };
    const { used, rest, changed } = match(missing, given);
    const next = { upload: stored, found: new Map([...found, ...used]), changed };
    latest.current = next;
    set(next);
    if (used.size > 0) announce(`${plural(used.size, 'file')} of the interrupted upload found`);
    return rest;
  }), []);
  return {
    ...state,
    onSend: () => {
      set({ upload: null, found: new Map(), changed: [] });
      resume(state.upload, state.found);
    },
    onForget: () => {
      forgetUpload(state.upload.id);
      set({ upload: null, found: new Map(), changed: [] });
    },
  };
}
