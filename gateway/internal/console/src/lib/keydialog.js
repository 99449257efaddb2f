// The dialog for the API key, and the button that opens it.
import { askForKey, caller, key, keyRemembered, onKeyChange, setKey } from './api.js';
import { closeKeyDialog, isKey, onQuestion } from './key.js';
import { html, useEffect, useId, useRef, useState } from './preact.js';
import { announce, Dialog } from './ui.js';

/** KeyDialog opens when a request needs a key. It says whether the key is missing or wrong, and
 * checks a new one before the requests continue with it. */
export function KeyDialog() {
  const [question, set] = useState(null);
  useEffect(() => onQuestion(set), []);
  return question && html`<${KeyForm} reason=${question.reason} />`;
}

function explanation(reason) {
  if (/unknown/i.test(reason)) return 'The gateway does not know this API key. It was removed, or is not complete.';
  if (reason) return 'This gateway requires an API key. Its operator has one for you.';
  return key() ? 'Requests are sent with this key.' : 'Requests are sent without a key.';
}

function KeyForm({ reason }) {
  const [text, setText] = useState('');
  const [remember, setRemember] = useState(keyRemembered());
  const [shown, show] = useState(false);
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  const input = useRef(null);
  const stop = useRef(new AbortController());
  const ids = [useId(), useId(), useId()];
  useEffect(() => {
    input.current.focus();
    return () => stop.current.abort();
  }, []);
  const wrong = (why) => {
    setProblem(why);
    input.current.focus();
    input.current.select();
  };
  const submit = async (event) => {
    event.preventDefault();
    const secret = text.trim();
    if (secret === '') return wrong('Paste the key here.');
    if (!isKey(secret)) return wrong('A key has no spaces and only letters, digits and signs of ASCII. Copy it again, as a whole.');
    setBusy(true);
    setProblem('');
    try {
      await caller({ secret, signal: stop.current.signal });
    } catch (err) {
      if (err.code === 'aborted') return undefined;
      setBusy(false);
      return wrong(err.status === 401 ? 'The gateway does not know this key. Copy it again, as a whole.' : `${err.text}. ${err.advice}`);
    }
    setKey(secret, { remember });
    announce('The API key is accepted');
    return undefined;
  };
  const forget = () => {
    setKey('');
    closeKeyDialog();
  };
  return html`<${Dialog} title="API key" onClose=${closeKeyDialog}>
    <form onSubmit=${submit}>
      <p id=${ids[0]}>${explanation(reason)}</p>
      <label for=${ids[1]}>API key</label>
      <div class="row"><input id=${ids[1]} ref=${input} class="grow mono" type=${shown ? 'text' : 'password'} autocomplete="off" spellcheck=${false} autocapitalize="off"
        value=${text} onInput=${(event) => setText(event.currentTarget.value)} aria-describedby=${`${ids[0]} ${ids[2]}`} aria-invalid=${problem !== ''} />
        <button type="button" aria-pressed=${shown} onClick=${() => show(!shown)}>Show</button></div>
      <p id=${ids[2]} class="field-error">${problem}</p>
      <label class="check"><input type="checkbox" checked=${remember} onChange=${(event) => setRemember(event.currentTarget.checked)} /> Remember on this device
        <small>Otherwise, this tab keeps the key until you close it.</small></label>
      <div class="dialog-foot">
        ${key() && html`<button type="button" class="plain" onClick=${forget}>Forget the key</button>`}<span class="grow"></span>
        <button type="button" onClick=${closeKeyDialog}>Cancel</button>
        <button type="submit" class="primary" disabled=${busy}>${busy ? 'Checking…' : 'Use key'}</button>
      </div>
    </form>
  <//>`;
}

/** useCaller returns who the key belongs to: {name, operator, captions}, or null while that is not
 * known. */
export function useCaller(needed) {
  const [value, set] = useState(null);
  useEffect(() => {
    let current = new AbortController();
    const load = () => {
      current.abort();
      current = new AbortController();
      set(null);
      caller({ signal: current.signal }).then(set, () => {});
    };
    if (needed !== undefined) load();
    const off = onKeyChange(load);
    return () => {
      current.abort();
      off();
    };
  }, [needed]);
  return value;
}

/** KeyButton names the key in use and opens the dialog. */
export function KeyButton({ name }) {
  return html`<button type="button" class="plain" onClick=${() => askForKey()}>${key() ? html`key: <bdi>${name || 'set'}</bdi>` : 'Enter key'}</button>`;
}
