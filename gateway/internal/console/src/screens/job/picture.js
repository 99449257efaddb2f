// The picture of a card: the thumbnail, and until it is there the file on this device or the
// blurred placeholder of the record.
import { jobPath, onConnection, useImage, useKey } from '../../lib/api.js';
import { pictureOf } from '../../lib/localPictures.js';
import { html, useEffect, useLayoutEffect, useRef, useState } from '../../lib/preact.js';
import { useNear } from './near.js';
import { decodeThumbHash } from './thumbhash.js';

const tries = 3;
const moment = 150; // ms that a thumbnail may take without a placeholder

/** Blur draws a thumbhash. */
export function Blur({ hash }) {
  const ref = useRef(null);
  const [late, set] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => set(true), moment);
    return () => clearTimeout(timer);
  }, []);
  useLayoutEffect(() => {
    const decoded = late && decodeThumbHash(hash);
    if (!decoded) return;
    const { width, height, pixels } = decoded;
    Object.assign(ref.current, { width, height });
    ref.current.getContext('2d').putImageData(new ImageData(pixels, width, height), 0, 0);
  }, [hash, late]);
  return late && html`<canvas ref=${ref} width="1" height="1" aria-hidden="true"></canvas>`;
}

/** Picture shows an image of a job. near: it is not far from the visible part of the page. */
export function Picture({ jobID, image, near, alt, thumbhash }) {
  const ref = useRef(null);
  const [round, again] = useState(0);
  const [loaded, setLoaded] = useState('');
  const [failed, setFailed] = useState('');
  const [broken, setBroken] = useState(''); // the local file is no picture
  const done = image.status === 'completed';
  // Without a key, the browser loads what is near by itself. With one, this page does, and what is
  // not near any more must not delay what is.
  const secret = useKey();
  const close = useNear(ref, near && done && Boolean(secret) && !loaded);
  // A new fragment makes the browser request the same thumbnail again.
  const src = useImage(done && (!secret || close || loaded) ? `${jobPath(jobID, `images/${image.index}/thumbnail`)}${round ? `#${round}` : ''}` : '');
  const missing = src === null || (src !== '' && failed === src);
  const shown = src && loaded === src;
  const given = round >= tries; // up
  useEffect(() => {
    if (!missing) return undefined;
    const timer = given ? 0 : setTimeout(() => again((n) => n + 1), 2000 * 3 ** round);
    const off = onConnection((now) => now && again((n) => n + 1));
    return () => {
      clearTimeout(timer);
      off();
    };
  }, [missing, round]);
  const local = !shown && pictureOf(jobID, image.index);
  const placeholder = local && local !== broken ? html`<img src=${local} alt="" loading="lazy" decoding="async" onError=${() => setBroken(local)} />`
    : !shown && thumbhash && near ? html`<${Blur} hash=${thumbhash} />`
      : missing && given && html`<span class="card-empty">No preview</span>`;
  return html`<span ref=${ref} class="card-picture">${placeholder}
    ${src && !missing && html`<img key=${src} src=${src} alt=${alt} loading="lazy" decoding="async" onLoad=${() => setLoaded(src)} onError=${() => setFailed(src)} />`}</span>`;
}
