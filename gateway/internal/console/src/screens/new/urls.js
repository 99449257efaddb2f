// Images by URL, which the gateway downloads.
import { plural } from '../../lib/format.js';
import { html, useId, useRef, useState } from '../../lib/preact.js';
import { Dialog } from '../../lib/ui.js';
import { parseUrls } from './check.js';

/** UrlDialog asks for URLs and passes them to onAdd. */
export function UrlDialog({ onAdd, onClose }) {
  const [text, set] = useState('');
  const [shown, show] = useState(false); // problems are shown after the first try
  const input = useRef(null);
  const [field, hint, faults] = [useId(), useId(), useId()];
  const { urls, problems } = parseUrls(text);
  const submit = (event) => {
    event.preventDefault();
    show(true);
    if (problems.length === 0 && urls.length > 0) onAdd(urls);
    else input.current.focus();
  };
  return html`<${Dialog} title="Add URLs" wide onClose=${onClose}>
    <form onSubmit=${submit}>
      <label for=${field}>One URL in each line</label>
      <textarea id=${field} ref=${input} class="mono new-urls" rows="8" spellcheck=${false} autofocus value=${text} aria-invalid=${shown && problems.length > 0}
        aria-describedby=${`${hint} ${faults}`} onInput=${(event) => set(event.currentTarget.value)}></textarea>
      <p id=${hint} class="faint">The gateway downloads them. It must be able to reach them without a login.</p>
      <div id=${faults} class="field-error">
        ${shown && urls.length + problems.length === 0 && 'Enter at least one URL.'}
        ${shown && problems.length > 0 && html`<ul>${problems.slice(0, 5).map(({ line, text: bad, reason }) => html`<li key=${line}>Line ${line} ${reason}: <bdi class="mono">${bad}</bdi></li>`)}
          ${problems.length > 5 && html`<li>${plural(problems.length - 5, 'more line has a problem', 'more lines have a problem')}</li>`}</ul>`}
      </div>
      <div class="dialog-foot"><button type="button" onClick=${onClose}>Cancel</button>
        <button type="submit" class="primary">${urls.length > 0 ? `Add ${plural(urls.length, 'URL')}` : 'Add'}</button></div>
    </form>
  <//>`;
}
