// The field of the search.
import { html, useEffect, useRef, useState } from '../../lib/preact.js';
import { href, navigate } from '../../lib/router.js';
import { jobIdOf } from './filter.js';

const pause = 350; // ms without a key until the search starts
const maxLength = 200; // characters; the gateway accepts 255 bytes

/** Search is the field for q. onChange(text) is called when the person has stopped typing. */
export function Search({ value, onChange }) {
  const [text, setText] = useState(value);
  const field = useRef(null);
  const timer = useRef(0);
  const sent = useRef(value);
  useEffect(() => {
    if (value !== sent.current) setText(value); // Back, or a link
    sent.current = value;
  }, [value]);
  useEffect(() => {
    const focus = (event) => {
      if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
      if (event.target.closest?.('input:not([type="checkbox"]), textarea, select, [contenteditable]')) return;
      event.preventDefault();
      field.current.focus();
      field.current.select();
    };
    document.addEventListener('keydown', focus);
    return () => {
      clearTimeout(timer.current);
      document.removeEventListener('keydown', focus);
    };
  }, []);
  const search = (typed) => {
    clearTimeout(timer.current);
    const id = jobIdOf(typed);
    if (id) {
      navigate(href('job', { id }));
      return;
    }
    sent.current = typed.trim();
    if (sent.current !== value) onChange(sent.current);
  };
  const typed = (event) => {
    const { value: now } = event.currentTarget;
    setText(now);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => search(now), pause);
  };
  const submit = (event) => {
    event.preventDefault();
    search(text);
  };
  return html`<form class="jobs-search" role="search" onSubmit=${submit}>
    <input ref=${field} type="search" aria-label="Search jobs" placeholder="File name or start of a job’s ID" title="Press / to search" maxlength=${maxLength} autocomplete="off" spellcheck=${false} value=${text} onInput=${typed} />
  </form>`;
}
