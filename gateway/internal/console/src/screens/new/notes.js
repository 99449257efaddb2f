// What the upload screen says besides the list: files that cannot be sent, an interrupted upload,
// and what a vision model would see.
import { number, plural } from '../../lib/format.js';
import { html, useId, useState } from '../../lib/preact.js';
import { href } from '../../lib/router.js';
import { reasonOf, summary } from './check.js';
import { captionTokens } from './plan.js';
import { pendingOf } from './parts.js';
import { selection } from './selection.js';

const maxNames = 200; // in an expanded list

/** Names is a list of paths with reasons that a person can open. */
export function Names({ title, files }) {
  return html`<details class="new-names"><summary>${title}</summary>
    <ul>${files.slice(0, maxNames).map(({ path, reason }, i) => html`<li key=${i}><bdi>${path}</bdi>${reason && ` ${reason}`}</li>`)}
      ${files.length > maxNames && html`<li>and ${number(files.length - maxNames)} more</li>`}</ul>
  </details>`;
}

/** Refused lists the files that cannot be sent, by kind. */
export function Refused({ refused, limit }) {
  if (refused.length === 0) return null;
  const groups = summary(refused, limit);
  const shown = groups.slice(0, 6);
  return html`<div class="note warn new-refused"><div>
      <p class="note-title">${plural(refused.length, 'file')} can’t be sent</p>
      <p>${shown.map((group, i) => html`${i > 0 && '; '}${typeof group === 'string' ? group : html`<bdi>${group.name}</bdi> ${group.reason}`}`)}
        ${groups.length > shown.length && `; and ${plural(groups.length - shown.length, 'other kind')}`}. Only JPEG and PNG images can be sent.</p>
      ${refused.length > 1 && html`<${Names} title="Show the files" files=${refused.map((file) => ({ path: file.path, reason: reasonOf(file, limit) }))} />`}
    </div>
    <button type="button" onClick=${() => selection.set({ refused: [] })}>Dismiss</button></div>`;
}

/** CaptionNote says what a vision model gets of the images, with a box to prevent that. */
export function CaptionNote({ captions, allowed, images, value, onChange }) {
  const hint = useId();
  if (!captions || images === 0) return null;
  const target = html`<bdi>${captions.model}</bdi> at <bdi>${captions.host}</bdi>`;
  if (!allowed) return html`<p class="new-captions faint">Your API key keeps images away from models: ${target} gets none of these.</p>`;
  const tokens = captionTokens(images, captions.pixels ?? 768);
  return html`<div class="new-captions"><label class="check"><input type="checkbox" checked=${value} aria-describedby=${hint} onChange=${(event) => onChange(event.currentTarget.checked)} /> Describe the images with a model</label>
    <p id=${hint} class="faint">${value
      ? html`Up to ${plural(images, 'image')}, ${captions.pixels ?? 768} px, no EXIF or GPS, go to ${target}, about ${number(tokens)} tokens.`
      : html`${target} gets none of these images.`}</p></div>`;
}

/** Interrupted offers to continue an upload that the browser has forgotten the files of. */
export function Interrupted({ upload, found, changed, onChoose, onSend, onForget }) {
  const [open, setOpen] = useState(false);
  const pending = pendingOf(upload);
  const missing = pending.filter((item) => !item.url && !found.has(item));
  const ready = pending.length - missing.length;
  const sent = upload.parts.reduce((sum, part) => sum + (part.jobId ? part.total : 0), 0);
  const label = html`<bdi>${upload.label}</bdi>`;
  if (upload.complete) {
    return html`<div class="note good"><div><p class="note-title">The interrupted upload is complete: ${label}</p>
      <p>All ${plural(sent, 'image')} had arrived. <a href=${href('upload', { id: upload.id })}>Show them</a></p></div>
      <button type="button" onClick=${onForget}>Dismiss</button></div>`;
  }
  const folders = missing.some((item) => item.path.includes('/'));
  return html`<div class="note warn"><div>
      <p class="note-title">An upload was interrupted: ${label}</p>
      <p>${sent > 0 ? html`${number(sent)} of ${plural(sent + pending.length, 'image')} arrived (<a href=${href('upload', { id: upload.id })}>show them</a>). ` : 'No image has arrived. '}
        ${missing.length > 0
          ? html`Choose ${missing.length === 1 ? html`<bdi>${missing[0].path}</bdi>` : `these ${number(missing.length)} files`} again${folders && ', or their folder,'} to send the rest. You can also drop ${missing.length === 1 ? 'it' : 'them'} here.`
          : 'All files are here again.'}</p>
      ${changed.length > 0 && html`<p>${changed.length === 1 ? html`<bdi>${changed[0]}</bdi> has` : `${number(changed.length)} files have`} changed since then, so ${changed.length === 1 ? 'it does' : 'they do'} not belong to this upload. The new version is in the list below.</p>`}
      ${missing.length > 1 && html`<${Names} title="Show the ${number(missing.length)} files" files=${missing} />`}
    </div>
    <div class="row">
      ${ready > 0 && html`<button type="button" class="primary" onClick=${onSend}>${missing.length > 0 ? `Send the ${number(ready)} without ${missing.length > 1 ? 'the others' : 'it'}` : `Send the ${number(ready)}`}</button>`}
      ${missing.length > 0 && html`<button type="button" class=${ready > 0 ? '' : 'primary'} onClick=${() => onChoose('files')}>Choose again</button>`}
      ${folders && html`<button type="button" onClick=${() => onChoose('folder')}>Choose folder</button>`}
      ${open
        ? html`<button type="button" class="danger" onClick=${onForget}>Forget the other ${plural(pending.length, 'image')}</button>`
        : html`<button type="button" class="plain" onClick=${() => setOpen(true)}>Forget it…</button>`}
    </div></div>`;
}
