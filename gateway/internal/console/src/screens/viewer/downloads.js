// The files of an image.
import { address, download, jobPath } from '../../lib/api.js';
import { html } from '../../lib/preact.js';
import { announce, ErrorNote } from '../../lib/ui.js';
import { useWork } from '../job/work.js';

const files = [
  ['file', 'File', 'The processed image, with its metadata in it', 'file'],
  ['original', 'Original', 'The image as it was sent', 'original'],
  ['metadata', 'JSON', 'The record of this image', 'metadata'],
  ['xmp', 'XMP', 'The sidecar, for programs that read metadata from a file beside the image', 'xmp'],
];

/** Downloads shows a link for each of the files that there are: a set of file, original, metadata
 * and xmp. With API keys, these are buttons, because a link cannot send a key. */
export function Downloads({ jobID, index, keys, has }) {
  const { busy, error, run, again } = useWork();
  const start = (what) => () => run('', async () => {
    await download(jobID, { what, image: index });
    announce('The download has started');
  });
  return html`<div class="row downloads" role="group" aria-label="Download">
      ${files.filter(([what]) => has.has(what)).map(([what, word, hint, path]) => (keys
        ? html`<button key=${what} type="button" title=${hint} disabled=${busy} onClick=${start(what)}>${word}</button>`
        : html`<a key=${what} class="button" title=${hint} href=${address(jobPath(jobID, `images/${index}/${path}`)).href} download>${word}</a>`))}
    </div>
    <${ErrorNote} error=${error} title="The download could not start" retry=${again} />`;
}
