// The progress of the upload that this tab sends.
import { number, percent, plural, timeLeft } from '../../lib/format.js';
import { html, useEffect, useState } from '../../lib/preact.js';
import { href } from '../../lib/router.js';
import { ErrorNote, Progress } from '../../lib/ui.js';
import { Names } from './notes.js';
import { busy, current, giveUp } from './sender.js';
import { putBack } from './selection.js';

/** placeOf returns the screen that shows what an upload has sent. */
export const placeOf = (upload) => (upload.jobs.length === 1 && upload.parts.length === 1 && upload.lost.length === 0
  ? href('job', { id: upload.jobs[0] }) : href('upload', { id: upload.id }));

/** sendingTitle returns what the title of the tab starts with while an upload is being sent. */
export function sendingTitle(upload) {
  if (!busy(upload)) return upload?.state === 'stopped' ? 'Stopped' : '';
  return upload.state === 'waiting' ? 'Waiting' : `${percent(upload.sent / upload.total)} sent`;
}

// Countdown counts the seconds without rendering anything else.
function Countdown({ until }) {
  const seconds = () => Math.max(0, Math.ceil((until - Date.now()) / 1000));
  const [left, set] = useState(seconds);
  useEffect(() => {
    set(seconds());
    const timer = setInterval(() => set(seconds()), 250);
    return () => clearInterval(timer);
  }, [until]);
  return html`Next try in ${left} s.`;
}

function Lost({ lost }) {
  if (lost.length === 0) return null;
  return html`<div class="note warn"><div>
    <p class="note-title">${plural(lost.length, 'image')} could not be sent</p>
    ${lost.length === 1 ? html`<p><bdi>${lost[0].path}</bdi>: ${lost[0].reason}.</p>` : html`<${Names} title="Show the files" files=${lost.map(({ path, reason }) => ({ path, reason: `: ${reason}` }))} />`}
    ${lost.some(({ again }) => again) && html`<p><a href=${href('new')}>Choose ${lost.length === 1 ? 'it' : 'them'} again</a> if ${lost.length === 1 ? 'it is' : 'they are'} still there.</p>`}</div></div>`;
}

/** SendingPanel shows the upload and lets the person stop and continue it. */
export function SendingPanel({ upload }) {
  const { state, wait, part } = upload;
  if (state === 'done') return html`<${Lost} lost=${upload.lost} />`;
  const [images, sent] = [upload.images, upload.sentImages];
  const left = images - sent;
  const facts = [upload.amount, state === 'sending' && timeLeft(upload.left), `${number(sent)} of ${plural(images, 'image')} sent`].filter(Boolean).join(' · ');
  const keep = () => putBack(giveUp(upload));
  return html`<section class="panel new-sending" aria-labelledby="sending-title">
    <h2 id="sending-title">${state === 'stopped' ? 'Stopped' : state === 'stopping' ? 'Stopping' : 'Sending'}: <bdi>${upload.label}</bdi></h2>
    <div class="new-progress"><${Progress} done=${upload.sent} total=${upload.total} label="Upload" text=${`${percent(upload.sent / upload.total)}, ${facts}`} />
      ${busy(upload) && html`<button type="button" onClick=${() => upload.stop()}>${state === 'stopping' ? 'Stop now' : 'Stop'}</button>`}</div>
    <p class="new-facts">${facts}</p>
    ${state === 'waiting' && wait && html`<div class="note warn"><p>${wait.reason} ${part?.items.length > 0 && wait.until > 0 && html`<${Countdown} until=${wait.until} />`}</p>
      <button type="button" onClick=${() => upload.tryNow()}>Try now</button></div>`}
    ${state === 'stopping' && html`<p>Waiting for the response to the last request.</p>`}
    ${upload.smaller && html`<p class="faint">${upload.smaller}</p>`}
    <${Lost} lost=${upload.lost} />
    ${state === 'stopped' && html`
      <${ErrorNote} error=${upload.error} title="The upload has stopped" />
      <p>${sent > 0 ? html`The ${sent === 1 ? 'sent image stays' : `${number(sent)} sent images stay`} and ${sent === 1 ? 'is' : 'are'} processed: <a href=${href('upload', { id: upload.id })}>show ${sent === 1 ? 'it' : 'them'}</a>.` : 'No image was sent.'}</p>
      <div class="row"><button type="button" class="primary" onClick=${() => upload.run()}>Send ${left > 1 ? `${sent > 0 ? 'the other' : 'all'} ${number(left)}` : sent > 0 ? 'the other one' : 'it'}</button>
        <button type="button" onClick=${keep}>Put ${left === 1 ? 'it' : 'them'} back into the list</button></div>`}
  </section>`;
}

/** UploadStrip shows the upload on all screens but its own. */
export function UploadStrip({ route }) {
  const { upload } = current.use();
  if (!upload || ['new', 'upload'].includes(route.name)) return null;
  if (upload.state === 'done' && (upload.seen || route.params.id === upload.jobs[0])) return null;
  const text = upload.state === 'done' ? `${plural(upload.sentImages, 'image')} sent` : upload.state === 'stopped' ? `The upload has stopped at ${upload.amount}`
    : upload.state === 'waiting' ? `Upload: ${upload.wait?.reason}` : ['Sending', upload.amount, timeLeft(upload.left)].filter(Boolean).join(' · ');
  return html`<div class="new-strip"><span>${text}</span>
    <a href=${upload.state === 'done' ? placeOf(upload) : href('new')} onClick=${() => { upload.seen = upload.state === 'done'; }}>Show</a></div>`;
}
