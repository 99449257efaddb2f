// Sending images.
import { bytes, plural } from '../lib/format.js';
import { html } from '../lib/preact.js';
import { EmptyState, Heading } from '../lib/ui.js';

export default function New({ limits }) {
  return html`<${Heading}>New<//>
    <${EmptyState} title=${`At most ${plural(limits.max_images, 'image')} of ${bytes(limits.max_image_bytes)} each in a batch.`} />`;
}
