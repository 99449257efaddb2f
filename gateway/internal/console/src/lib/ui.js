// Pieces that all screens share.
import { announcer } from './announce.js';
import { askForKey } from './api.js';
import { ago, date, percent } from './format.js';
import { html, useEffect, useId, useLayoutEffect, useRef, useState } from './preact.js';
import { cancelled, countsInWords, imageState, jobState, open } from './state.js';

/** classes joins the names that are not empty. */
export const classes = (...names) => names.filter(Boolean).join(' ');

// Drawn, because the fonts of many systems lack the signs.
const drawings = {
  copy: 'M5 5V3.5A1.5 1.5 0 0 1 6.5 2h6A1.5 1.5 0 0 1 14 3.5v6A1.5 1.5 0 0 1 12.5 11H11M3.5 5h6A1.5 1.5 0 0 1 11 6.5v6A1.5 1.5 0 0 1 9.5 14h-6A1.5 1.5 0 0 1 2 12.5v-6A1.5 1.5 0 0 1 3.5 5z',
  check: 'M3 8.5l3.5 3.5L13 4.5',
  close: 'M4 4l8 8M12 4l-8 8',
};

/** Icon is a drawing in the color of the text: copy, check or close. It needs a text next to it or
 * an aria-label around it. */
export const Icon = ({ name }) => html`<svg class="drawing" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><path d=${drawings[name]} /></svg>`;

let showMessage = () => {};

/** announce tells a screen reader what has changed, at most one message in 2 s. */
export const announce = announcer((text) => showMessage(text));

/** LiveRegion is the only live region of the page. */
export function LiveRegion() {
  const [message, set] = useState({ text: '', odd: false });
  showMessage = (text) => set((old) => ({ text, odd: !old.odd }));
  // A screen reader does not repeat a text that has not changed.
  return html`<div class="visually-hidden" role="status" aria-live="polite" aria-atomic="true">${message.text}${message.odd ? '\u00a0' : ''}</div>`;
}

/** useTitle sets the title of the tab, followed by the name of the product. */
export function useTitle(title) {
  useEffect(() => {
    document.title = title ? `${title} · Imagebatch` : 'Imagebatch';
  }, [title]);
}

/** Heading is the h1 of a screen. It takes the focus when its screen is opened. */
export function Heading({ children, title, class: name }) {
  useTitle(title ?? (typeof children === 'string' ? children : undefined));
  return html`<h1 tabindex="-1" data-heading class=${name}>${children}</h1>`;
}

/** Dialog is a modal dialog while it is rendered. Escape and the cross call onClose; the caller
 * then stops rendering it, and the focus returns to where it was. */
export function Dialog({ title, onClose, children, footer, wide }) {
  const ref = useRef(null);
  const id = useId();
  useLayoutEffect(() => {
    const dialog = ref.current;
    dialog.showModal();
    return () => dialog.close();
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    onClose();
  };
  return html`<dialog ref=${ref} class=${classes('dialog', wide && 'wide')} aria-labelledby=${id} onCancel=${cancel}>
    <div class="dialog-head"><h2 id=${id}>${title}</h2><button type="button" class="plain icon" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button></div>
    <div class="dialog-body">${children}</div>
    ${footer && html`<div class="dialog-foot">${footer}</div>`}
  </dialog>`;
}

let showQuestion = null;

/** confirm asks before something that cannot be undone. It resolves to true or false. dismiss is
 * the text of the button that does nothing. */
export function confirm({ title, text, action, dismiss = 'Cancel', danger = true }) {
  return new Promise((resolve) => showQuestion({ title, text, action, dismiss, danger, resolve }));
}

/** ConfirmHost renders the question of confirm. A second question waits for the first. */
export function ConfirmHost() {
  const [questions, set] = useState([]);
  showQuestion = (question) => set((old) => [...old, question]);
  const [question] = questions;
  if (!question) return null;
  const answer = (yes) => {
    set((old) => old.slice(1));
    question.resolve(yes);
  };
  return html`<${Dialog} key=${question.title} title=${question.title} onClose=${() => answer(false)} footer=${html`
      <button type="button" onClick=${() => answer(false)} autofocus>${question.dismiss}</button>
      <button type="button" class=${question.danger ? 'danger' : 'primary'} onClick=${() => answer(true)}>${question.action}</button>`}>
    <p>${question.text}</p>
  <//>`;
}

// navigator.clipboard exists only on HTTPS and localhost.
async function copy(text, near) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // not permitted; the old way may be
    }
  }
  const area = document.createElement('textarea');
  area.value = text;
  area.readOnly = true;
  area.className = 'visually-hidden';
  near.after(area); // inside the dialog that may be open, where it can have the focus
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  near.focus();
  return copied;
}

/** CopyButton copies a text, such as an ID. label names what is copied. */
export function CopyButton({ text, label = 'Copy', children }) {
  const [state, set] = useState('');
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  const click = async (event) => {
    const done = await copy(text, event.currentTarget) ? 'Copied' : 'Press Ctrl+C to copy';
    set(done);
    announce(done);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => set(''), 2000);
  };
  return html`<button type="button" class="plain copy" title=${label} aria-label=${children ? undefined : label} onClick=${click}>
    ${children} <${Icon} name=${state ? 'check' : 'copy'} />${state && html`<span class="copied">${state}</span>`}
  </button>`;
}

/** Progress shows how many of total are done and failed, as a bar and for screen readers in words. */
export function Progress({ done, failed = 0, total, label = 'Progress', text }) {
  const part = total > 0 ? Math.min(1, (done + failed) / total) : 0;
  const width = (n) => ({ width: `${total > 0 ? (100 * n) / total : 0}%` });
  return html`<div class="progress" role="progressbar" aria-label=${label} aria-valuemin="0" aria-valuemax="100"
      aria-valuenow=${Math.floor(part * 100)} aria-valuetext=${text ?? percent(part)}>
    <div class="progress-done" style=${width(done)}></div><div class="progress-failed" style=${width(failed)}></div>
  </div>`;
}

/** JobProgress is the bar of a job with its numbers: "7 done, 2 open, 1 failed". */
export function JobProgress({ job }) {
  const words = countsInWords(job);
  return html`<div class="job-progress"><${Progress} done=${job.completed} failed=${job.failed - cancelled(job)} total=${job.total_images} text=${words} />
    <span class=${classes('job-counts', open(job) > 0 && 'busy')}>${words}</span></div>`;
}

const marks = { idle: '○', busy: '◐', good: '✓', warn: '⚠', bad: '✕', muted: '⊘' };

/** Badge shows a state: {word, tone}, or the job or the image that has it. */
export function Badge({ job, image, state = job ? jobState(job) : imageState(image) }) {
  return html`<span class=${`badge tone-${state.tone}`}><span aria-hidden="true">${marks[state.tone]}</span> ${state.word}</span>`;
}

/** Origin shows by mark and in words where a text comes from; value is what originOf returns. */
export function Origin({ value }) {
  if (!value) return null;
  return html`<span class=${`origin ${value.className}`}>${value.mark && html`<span class="origin-mark" aria-hidden="true">${value.mark}</span> `}<bdi>${value.word}</bdi></span>`;
}

/** EmptyState says why there is nothing, and, as its children, what to do next. */
export function EmptyState({ title, children }) {
  return html`<div class="empty"><p class="empty-title">${title}</p>${children && html`<div>${children}</div>`}</div>`;
}

/** ErrorNote shows an ApiError with its advice, and a button that tries again. */
export function ErrorNote({ error, title, retry }) {
  const shown = error && error.code !== 'aborted';
  useEffect(() => {
    if (shown) announce([title, error.text ?? error.message, error.advice].filter(Boolean).join('. '));
  }, [shown && error]);
  if (!shown) return null;
  return html`<div class="note bad"><div><p class="note-title">${title && `${title}: `}<bdi>${error.text ?? error.message}</bdi></p>
    ${error.advice && html`<p>${error.advice}</p>`}</div>
    ${error.status === 401 && error.code !== 'proxy'
      ? html`<button type="button" onClick=${() => askForKey(error.text)}>Enter API key</button>`
      : retry && html`<button type="button" onClick=${retry}>Try again</button>`}
  </div>`;
}

/** Loading appears only if something takes longer than a moment. */
export function Loading({ children = 'Loading…' }) {
  const [late, set] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => set(true), 300);
    return () => clearTimeout(timer);
  }, []);
  return late ? html`<p class="loading">${children}</p>` : null;
}

const clocks = new Set();
let clock = 0;

/** Time shows how long ago something was, and the exact time as a tooltip. */
export function Time({ value }) {
  const [, tick] = useState(0);
  useEffect(() => {
    const again = () => tick((n) => n + 1);
    clocks.add(again);
    clock ||= setInterval(() => { for (const each of clocks) each(); }, 30_000);
    return () => {
      clocks.delete(again);
      if (clocks.size === 0) {
        clearInterval(clock);
        clock = 0;
      }
    };
  }, []);
  return value ? html`<time datetime=${value} title=${date(value)}>${ago(value)}</time>` : null;
}

/** useVisible reports whether the element of ref has been near the visible part of the page. */
export function useVisible(ref, margin = '400px') {
  const [visible, set] = useState(false);
  useEffect(() => {
    if (visible || !ref.current) return undefined;
    const observer = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) set(true);
    }, { rootMargin: margin });
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, [visible]);
  return visible;
}
