// The card of one image.
import { html } from '../../lib/preact.js';
import { href } from '../../lib/router.js';
import { imageState } from '../../lib/state.js';
import { Badge, classes } from '../../lib/ui.js';
import { memo } from './memo.js';
import { Picture } from './picture.js';
import { adviceFor } from './reasons.js';

/** Card shows an image of a job. The list around it handles its events, so that all its props are
 * plain values, and a change of one image renders one card. mark is a text, such as "keep". */
export const Card = memo(({ id, jobID, image, record, near, current, selectable, selected, query, mark }) => {
  const state = imageState(image);
  const name = image.original_filename || `Image ${image.index + 1}`;
  const tabindex = current ? 0 : -1;
  const failed = image.status === 'failed';
  return html`<div role="listitem" class=${classes('card', selected && 'selected', failed && 'failed')} data-card=${id}>
    <a class="card-open" href=${href('viewer', { id: jobID, index: image.index }, new URLSearchParams(query))} tabindex=${tabindex} title=${image.custom_id || name}>
      <${Picture} jobID=${jobID} image=${image} near=${near} alt=${record?.alt ?? ''} thumbhash=${record?.thumbhash} />
      <bdi class="card-name">${name}</bdi>
      <span class="card-state"><${Badge} state=${state} />${mark && html` <span class="chip">${mark}</span>`}</span>
    </a>
    ${failed && image.error_code !== 'cancelled' && html`<p class="card-reason"><bdi>${image.error || 'The gateway gave no reason'}</bdi>. <span class="faint">${adviceFor(image)}</span></p>`}
    ${selectable && html`<input class="card-check" type="checkbox" tabindex=${tabindex} checked=${selected} aria-label=${`Select ${name}`} />`}
  </div>`;
});
