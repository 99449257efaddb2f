// The picture: the blurred placeholder, then the enlarged thumbnail, then the file itself.
import { jobPath, useImage } from '../../lib/api.js';
import { pictureOf } from '../../lib/localPictures.js';
import { html, useEffect, useLayoutEffect, useRef, useState } from '../../lib/preact.js';
import { classes, Loading } from '../../lib/ui.js';
import { Blur } from '../job/picture.js';

const swipeAfter = 60; // pixels

/** Stage shows the picture of an image.
 * - picture: {src, retry} of the file, or null if there is none
 * - size: {width, height} of the file, once they are known: a small picture is not enlarged
 * - onLoad: called when the file is shown; onSwipe: called with 1 or -1 */
export function Stage({ jobID, image, alt, thumbhash, size, transparent, picture, zoomed, onZoom, onLoad, onSwipe }) {
  const ref = useRef(null);
  const [shown, setShown] = useState(''); // src of the file that has been loaded
  const [broken, setBroken] = useState(''); // src of the file that is no picture, or could not be loaded
  const [lost, setLost] = useState(''); // src of such a thumbnail
  const [larger, setLarger] = useState(false); // the file has more pixels than the stage
  const point = useRef([0.5, 0.5]);
  const completed = image.status === 'completed';
  const thumbnail = useImage(completed ? jobPath(jobID, `images/${image.index}/thumbnail`) : '');
  const [small, setSmall] = useState(''); // src of the thumbnail that has been loaded
  const src = picture?.src;
  const ready = Boolean(src) && shown === src;
  const failed = src === null || (Boolean(src) && broken === src);
  const local = !ready && (!completed || failed) ? pictureOf(jobID, image.index) : '';

  useEffect(() => {
    if (!ready) return undefined;
    const stage = ref.current;
    const compare = () => setLarger(size ? size.width > stage.clientWidth || size.height > stage.clientHeight : false);
    const observer = new ResizeObserver(compare);
    observer.observe(stage);
    compare();
    return () => observer.disconnect();
  }, [ready, size?.width, size?.height]);

  // The point that was clicked comes to the center.
  const large = ready && larger && zoomed;
  useLayoutEffect(() => {
    const stage = ref.current;
    const [x, y] = point.current;
    stage.scrollTo(large ? x * stage.scrollWidth - stage.clientWidth / 2 : 0, large ? y * stage.scrollHeight - stage.clientHeight / 2 : 0);
    point.current = [0.5, 0.5];
  }, [large]);
  const click = (event) => {
    if (!ready || !larger) return;
    const box = contained(ref.current.getBoundingClientRect(), size);
    point.current = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    onZoom(!zoomed);
  };

  const touch = useRef(null);
  const onTouchStart = (event) => { touch.current = event.touches.length === 1 ? event.touches[0] : null; };
  const onTouchEnd = (event) => {
    const [from, [to]] = [touch.current, event.changedTouches];
    touch.current = null;
    if (!from || large || (globalThis.visualViewport?.scale ?? 1) > 1.01) return;
    const [dx, dy] = [to.clientX - from.clientX, to.clientY - from.clientY];
    if (Math.abs(dx) >= swipeAfter && Math.abs(dx) > 2 * Math.abs(dy)) onSwipe(dx < 0 ? 1 : -1);
  };

  const limit = size && { maxWidth: `${size.width}px`, maxHeight: `${size.height}px` };
  return html`<div class="stage-frame">
    <div ref=${ref} class=${classes('stage', large && 'large', larger && ready && 'zoomable', transparent && ready && 'transparent', image.status === 'failed' && !picture && !local && 'none')}
        tabindex=${large ? 0 : undefined} role=${large ? 'region' : undefined} aria-label=${large ? 'Picture in its actual size' : undefined} data-own-keys=${large ? '' : undefined}
        onTouchStart=${onTouchStart} onTouchEnd=${onTouchEnd}>
      ${!ready && completed && thumbhash && small !== thumbnail && html`<span class="layer" style=${limit}><${Blur} hash=${thumbhash} /></span>`}
      ${!ready && thumbnail && thumbnail !== lost && html`<img key=${thumbnail} class="layer" style=${limit} src=${thumbnail} alt="" onLoad=${() => setSmall(thumbnail)} onError=${() => setLost(thumbnail)} />`}
      ${local && html`<img class="layer" src=${local} alt="" />`}
      ${src && !failed && html`<img key=${src} class=${classes('layer', !ready && 'waiting')} style=${large ? null : limit} src=${src} alt=${alt} decoding="async" onClick=${click}
        onLoad=${() => { setShown(src); onLoad(); }} onError=${() => setBroken(src)} />`}
      ${!picture && !local && html`<span class="faint">${image.status === 'failed' ? 'No picture' : 'The picture is here when the image is completed.'}</span>`}
    </div>
    ${picture && !ready && !failed && html`<div class="stage-note"><${Loading}>Loading the picture…<//></div>`}
    ${failed && html`<div class="stage-note"><span>The picture could not be loaded.</span> <button type="button" onClick=${() => { setBroken(''); picture.retry(); }}>Try again</button></div>`}
    ${ready && larger && html`<button type="button" class="stage-zoom" aria-pressed=${zoomed} onClick=${() => onZoom(!zoomed)}>Actual size</button>`}
  </div>`;
}

// contained returns the box of a picture of this size that fits into another box and is not
// enlarged.
function contained(box, size) {
  const scale = Math.min(1, box.width / size.width, box.height / size.height);
  const [width, height] = [size.width * scale, size.height * scale];
  return { left: box.left + (box.width - width) / 2, top: box.top + (box.height - height) / 2, width, height };
}
