// The dialogs of a job: what to download, and what to process again.
import { download } from '../../lib/api.js';
import { bytes, plural } from '../../lib/format.js';
import { html, useId, useState } from '../../lib/preact.js';
import { announce, Dialog, ErrorNote } from '../../lib/ui.js';
import { failedWord, newJob, theImages, useWork } from './work.js';

const contents = [
  ['file', 'Images', 'The processed files, with their metadata in them'],
  ['metadata', 'Records', 'What was measured and written, as JSON'],
  ['xmp', 'XMP sidecars', 'For programs that read metadata from a file beside the image'],
  ['thumbnail', 'Thumbnails', 'Small JPEGs, at most 320 pixels'],
];

const Check = ({ type = 'checkbox', name, checked, onChange, children, hint }) => html`<label class="check">
  <input type=${type} name=${name} checked=${checked} onChange=${onChange} /> <span>${children}</span>${hint && html`<small>${hint}</small>`}</label>`;

/** ZipDialog downloads the files of a job in one archive. */
export function ZipDialog({ job, recordOf, onClose }) {
  const [chosen, choose] = useState(new Set(['file', 'metadata']));
  const [folders, setFolders] = useState(true);
  const [name] = [useId()];
  const { busy, error, run } = useWork();
  const paths = job.images.some((image) => image.custom_id);
  const size = chosen.has('file') ? job.images.reduce((sum, image) => sum + (recordOf(job.job_id, image.index)?.bytes ?? 0), 0) : 0;
  const toggle = (what) => choose((old) => {
    const next = new Set(old);
    if (!next.delete(what)) next.add(what);
    return next;
  });
  const start = () => run('The download could not start', async () => {
    const include = contents.map(([what]) => what).filter((what) => chosen.has(what)).join(',');
    await download(job.job_id, { what: 'zip', include, paths: paths && folders ? 'custom_id' : undefined });
    announce('The download has started');
    onClose();
  });
  return html`<${Dialog} title="Download as ZIP" onClose=${onClose} footer=${html`
      <button type="button" onClick=${onClose}>Cancel</button>
      <button type="button" class="primary" disabled=${busy || chosen.size === 0} onClick=${start}>${busy ? 'Starting…' : size > 0 ? `Download, about ${bytes(size)}` : 'Download'}</button>`}>
    <fieldset><legend>Contents</legend>
      ${contents.map(([what, word, hint]) => html`<${Check} key=${what} checked=${chosen.has(what)} onChange=${() => toggle(what)} hint=${hint}>${word}<//>`)}
      ${chosen.size === 0 && html`<p class="field-error">Choose at least one.</p>`}
    </fieldset>
    ${paths && html`<fieldset><legend>Names</legend>
      <${Check} type="radio" name=${name} checked=${folders} onChange=${() => setFolders(true)} hint="By the ID that each image was sent with">As they were sent, with folders<//>
      <${Check} type="radio" name=${name} checked=${!folders} onChange=${() => setFolders(false)} hint="Names that occur twice get a number">All in one folder<//>
    </fieldset>`}
    ${job.failed > 0 && html`<p class="faint">${plural(job.failed, 'image has', 'images have')} no files. The list manifest.jsonl in the archive has the reasons.</p>`}
    <${ErrorNote} error=${error} title="The download could not start" retry=${start} />
  <//>`;
}

/** ReprocessDialog makes a job from images of this one. chosen are the indexes of the selected
 * images, and captions is {model, host}, or null if no model may see the images. */
export function ReprocessDialog({ job, chosen, captions, onClose }) {
  const { failed } = job;
  const choices = [
    chosen.length > 0 && ['chosen', `The ${plural(chosen.length, 'selected image')}`, chosen],
    ['all', theImages(job.total_images, job.total_images).replace(/^./, (c) => c.toUpperCase()), job.images.map((image) => image.index)],
    failed > 0 && failed < job.total_images && ['failed', `The ${plural(failed, `${failedWord(job)} image`)}`, job.images.filter((image) => image.status === 'failed').map((image) => image.index)],
  ].filter(Boolean);
  const [which, setWhich] = useState(choices[0][0]);
  const [model, setModel] = useState('same');
  const names = [useId(), useId()];
  const { busy, error, run, again } = useWork();
  const [, , images] = choices.find(([name]) => name === which);
  const start = () => run('', newJob(job.job_id, 'reprocess', {
    ...(images.length < job.total_images && { images }),
    ...(model !== 'same' && { captions: model === 'yes' }),
  }, { text: `It processes ${theImages(images.length, job.total_images)} of an earlier job again.`, wanted: images.length }));
  return html`<${Dialog} title="Process again" onClose=${onClose} footer=${html`
      <button type="button" onClick=${onClose}>Cancel</button>
      <button type="button" class="primary" disabled=${busy} onClick=${start}>${busy ? 'Starting…' : `Process ${plural(images.length, 'image')}`}</button>`}>
    <p>A new job processes the originals again. This job and its files stay as they are.</p>
    ${choices.length > 1 && html`<fieldset><legend>Images</legend>
      ${choices.map(([name, word]) => html`<${Check} key=${name} type="radio" name=${names[0]} checked=${which === name} onChange=${() => setWhich(name)}>${word}<//>`)}
    </fieldset>`}
    ${captions && html`<fieldset><legend>Captions</legend>
      <${Check} type="radio" name=${names[1]} checked=${model === 'same'} onChange=${() => setModel('same')}>As before<//>
      <${Check} type="radio" name=${names[1]} checked=${model === 'yes'} onChange=${() => setModel('yes')} hint=${html`A small copy of each image goes to <bdi>${captions.host}</bdi>.`}>By the model <bdi>${captions.model}</bdi><//>
      <${Check} type="radio" name=${names[1]} checked=${model === 'no'} onChange=${() => setModel('no')} hint="No image of the new job leaves for a model.">Without a model<//>
    </fieldset>`}
    <${ErrorNote} error=${error} title="The new job could not be made" retry=${again} />
  <//>`;
}
