// What the camera, the measurements and the file say.
import { bytes, duration, number } from '../../lib/format.js';
import { html } from '../../lib/preact.js';
import { CopyButton } from '../../lib/ui.js';
import { camera, exposure, mapLink, megapixels, place, stars, taken } from './photo.js';
import { Long } from './texts.js';

// Facts shows the pairs [word, value] whose value there is.
function Facts({ title, pairs, children }) {
  const known = pairs.filter(([, value]) => value !== undefined && value !== '' && value !== false);
  if (known.length === 0 && !children) return null;
  return html`<section><h2>${title}</h2>${known.length > 0 && html`<dl class="facts">${known.map(([word, value]) => html`<dt key=${word}>${word}</dt><dd key=${`${word} value`}>${value}</dd>`)}</dl>`}${children}</section>`;
}

const text = (value) => value && html`<${Long} text=${value} />`;

/** Photo shows what the file says about how the picture was made. */
export function Photo({ record }) {
  const { exif = {}, made_by_ai: ai, creators } = record;
  return html`<${Facts} title="Photo" pairs=${[
    ['Camera', text(camera(exif))],
    ['Lens', text(exif.lens_model)],
    ['Exposure', text(exposure(exif))],
    ['Time', exif.taken_at && taken(exif.taken_at)],
    ['Place', exif.gps && html`${place(exif.gps)}<br /><a href=${mapLink(exif.gps)} target="_blank" rel="noreferrer">Open in OpenStreetMap</a>`],
    ['Software', text(exif.software)],
    ['Rating', record.rating && stars(record.rating)],
    ['By', creators && text(creators.join(', '))],
    ['Copyright', text(record.copyright)],
    ['Made by AI', ai && html`the file says: ${text([ai.system, ai.system_version].filter(Boolean).join(' '))}${ai.prompt && html`<br />Prompt: ${text(ai.prompt)}`}${ai.prompt_writer && html`<br />Written by ${text(ai.prompt_writer)}`}`],
    ['Source', text(record.digital_source_type)],
  ]} />`;
}

const share = (part) => (part > 0 && part < 0.01 ? '< 1 %' : `${Math.round(part * 100)} %`);

// A style attribute would break the policy of the page; Preact sets the property of the element.
const Swatch = ({ hex, name, part }) => html`<li><span class="swatch" style=${{ background: hex }} aria-hidden="true"></span>
  <span>${name} <span class="mono faint">${hex}</span></span> <span class="share">${share(part)}</span></li>`;

const flagWords = {
  screenshot: 'screenshot', blank: 'blank', blurred: 'blurred', dark: 'dark', overexposed: 'overexposed', greyscale: 'grayscale', monochrome: 'one color on gray',
};

/** Look shows what was measured in the pixels. */
export function Look({ record }) {
  const colors = record.dominant_colors ?? [];
  return html`<${Facts} title="Look" pairs=${[
    ['Flags', record.flags && html`<ul class="chips" role="list">${record.flags.map((flag) => html`<li key=${flag} class="chip tone-warn">${flagWords[flag] ?? flag}</li>`)}</ul>`],
    ['Light', `brightness ${record.brightness.toFixed(2)} of 1, contrast ${record.contrast.toFixed(2)} of 0.5`],
    ['Clipped', (record.shadows_clipped >= 0.001 || record.highlights_clipped >= 0.001) && `${share(record.shadows_clipped)} of the shadows, ${share(record.highlights_clipped)} of the highlights`],
    ['Transparent', record.alpha_used && 'in part'],
    ['Colors', colors.length > 0 && html`<ul class="swatches" role="list">${colors.map((color, i) => html`<${Swatch} key=${i} hex=${color.hex} name=${color.name} part=${color.share} />`)}</ul>`],
  ]} />`;
}

const models = { gray: 'gray', ycbcr: 'YCbCr', rgb: 'RGB', cmyk: 'CMYK', palette: 'palette' };

const Hash = ({ value, label }) => html`<span class="mono hash">${value}</span><${CopyButton} text=${value} label=${label} />`;

/** File shows the format, the sizes and the checksums. */
export function File({ record, image }) {
  const { width, height, processed } = record;
  return html`<${Facts} title="File" pairs=${[
    ['Sent as', image.custom_id && html`<bdi>${image.custom_id}</bdi>`],
    ['Format', `${record.format === 'jpeg' ? 'JPEG' : record.format.toUpperCase()}${record.jpeg_quality ? `, quality ${record.jpeg_quality}` : ''}${record.progressive ? ', progressive' : ''}${record.animated ? ', animated' : ''}`],
    ['Pixels', `${number(width)} × ${number(height)}${megapixels(width, height) && ` · ${megapixels(width, height)}`} · ${record.shape}`],
    ['Depth', `${record.bit_depth} bits, ${models[record.color_model] ?? record.color_model}${record.has_alpha ? ', with transparency' : ''}`],
    ['Profile', text(record.icc_profile)],
    ['Size', processed ? `${bytes(processed.file_size)}, original ${bytes(record.file_size, { apartFrom: processed.file_size })}` : bytes(record.file_size)],
    ['SHA-256', html`${processed && html`<${Hash} value=${processed.sha256} label="Copy the SHA-256 of the file" /> <small>file</small><br />`}<${Hash} value=${record.sha256} label="Copy the SHA-256 of the original" /> <small>original</small>`],
    ['Perceptual hash', html`<${Hash} value=${record.phash} label="Copy the perceptual hash" />`],
    ['Trace ID', html`<${Hash} value=${image.trace_id} label="Copy the trace ID" />`],
    ['Took', image.duration_ms !== undefined && duration(image.duration_ms)],
  ]} />`;
}
