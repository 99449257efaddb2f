// What an operator wants to know.
import { request } from '../lib/api.js';
import { useLoad } from '../lib/load.js';
import { html } from '../lib/preact.js';
import { ErrorNote, Heading, Loading } from '../lib/ui.js';

export default function System() {
  const { data, error, reload } = useLoad((signal) => request('GET', 'api/v1/system', { signal }).then((r) => r.data));
  return html`<${Heading}>System<//>
    <${ErrorNote} error=${error} retry=${reload} />
    ${!data && !error && html`<${Loading} />`}
    ${data && html`<p>Version ${data.version}</p>`}`;
}
