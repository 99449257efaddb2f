// The API key. It is sent in headers only, never in a URL. sessionStorage forgets it with the tab;
// localStorage keeps it on this device, if the person has chosen that.
import { read, write } from './storage.js';

let value = read('key', null, 'session') ?? read('key', '') ?? '';
const changes = new Set();
const questions = new Set();
let question = null; // the dialog that is open: {reason, answer, resolve}

/** key returns the key, or ''. */
export const key = () => value;

/** keyRemembered reports whether this device keeps the key. */
export const keyRemembered = () => Boolean(read('key'));

/** setKey uses another key from now on, or none. Requests that wait for a key continue. */
export function setKey(next, { remember = false } = {}) {
  const changed = next !== value;
  value = next;
  write('key', next && !remember ? next : null, 'session');
  write('key', next && remember ? next : null);
  if (next) settle(true);
  if (changed) for (const listener of changes) listener(next);
}

/** onKeyChange calls the listener after each change of the key, and returns the end of that. */
export function onKeyChange(listener) {
  changes.add(listener);
  return () => changes.delete(listener);
}

/** askForKey opens the dialog, and resolves to true when there is another key, to false when the
 * person has closed the dialog. Requests that fail together share one dialog. */
export function askForKey(reason = '') {
  if (!question) {
    question = { reason };
    question.answer = new Promise((resolve) => { question.resolve = resolve; });
    for (const listener of questions) listener(question);
  }
  return question.answer;
}

/** closeKeyDialog ends the question without a key. */
export const closeKeyDialog = () => settle(false);

function settle(answer) {
  const open = question;
  question = null;
  open?.resolve(answer);
  if (open) for (const listener of questions) listener(null);
}

/** onQuestion calls the listener with {reason} when a key is needed, and with null afterwards. */
export function onQuestion(listener) {
  questions.add(listener);
  listener(question);
  return () => questions.delete(listener);
}

/** isKey reports whether a text can be sent as a key at all. */
export const isKey = (text) => /^[\x21-\x7e]{1,512}$/.test(text);
