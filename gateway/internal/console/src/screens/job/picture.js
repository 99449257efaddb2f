// The picture of a card: the thumbnail, and until it is there the file on this device or the
// blurred placeholder of the record.
import { jobPath, onConnection, useImage } from '../../lib/api.js';
import { pictureOf } from '../../lib/localPictures.js';
import { html, useEffect, useLayoutEffect, useRef, useState } from '../../lib/preact.js';
import { useNear } from './near.js';
import { decodeThumbHash } from './thumbhash.js';

const tries = 3;

function Blur({ hash }) {
  const ref = useRef(null);
  useLayoutEffect(() => {
    const decoded = decodeThumbHash(hash);
    if (!decoded) return;
    const { width, height, pixels } = decoded;
    Object.assign(ref.current, { width, height });
    ref.current.getContext('2d').putImageData(new ImageData(pixels, width, height), 0, 0);
  }, [hash]);
  return html`<canvas ref=${ref} class="blur" width="1" height="1" aria-hidden="true"></canvas>`;
}

/** Picture shows an image of a job. */
export function Picture({ jobID, image, alt, thumbhash }) {
  const ref = useRef(null);
  const near = useNear(ref);
  const [round, again] = useState(0);
  const [loaded, setLoaded] = useState('');
  const [failed, setFailed] = useState('');
  const [broken, setBroken] = useState(''); // the local file is no picture
  const done = image.status === 'completed';
  // A new fragment makes the browser request the same thumbnail again.
  const src = useImage(done && near ? `${jobPath(jobID, `images/${image.index}/thumbnail`)}${round ? `#${round}` : ''}` : '');
  const missing = src === null || (src !== '' && failed === src);
  useEffect(() => {
    if (!missing) return undefined;
    const timer = round < tries ? setTimeout(() => again((n) => n + 1), 2000 * 3 ** round) : 0;
    const off = onConnection((now) => now && again((n) => n + 1));
    return () => {
      clearTimeout(timer);
      off();
    };
  }, [missing, round]);
  const shown = src && loaded === src;
  const local = shown ? '' : near && pictureOf(jobID, image.index);
  return html`<span ref=${ref} class="card-picture">
    ${!shown && (local && local !== broken ? html`<img src=${local} alt="" decoding="async" onError=${() => setBroken(local)} />`
      : thumbhash && near ? html`<${Blur} hash=${thumbhash} />` : done && missing && round >= tries && html`<span class="card-empty">No preview</span>`)}
    ${src && !missing && html`<img key=${src} src=${src} alt=${alt} decoding="async" onLoad=${() => setLoaded(src)} onError=${() => setFailed(src)} />`}
  </span>`;
}
