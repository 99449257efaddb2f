// What a person can do with a job. An action that does not apply is not there.
import { download } from '../../lib/api.js';
import { plural } from '../../lib/format.js';
import { html, useState } from '../../lib/preact.js';
import { ended, open } from '../../lib/state.js';
import { announce, confirm, ErrorNote } from '../../lib/ui.js';
import { ReprocessDialog, ZipDialog } from './dialogs.js';
import { filters } from './filters.js';
import { retryHelps } from './reasons.js';
import { cancelJob, failedWord, newJob, useWork } from './work.js';

/** Actions shows the buttons of a job. chosen are the indexes of the selected images. */
export function Actions({ job, limits, caller, recordOf, chosen, dialog, onDialog }) {
  const { busy, error, title, run, again } = useWork();
  const id = job.job_id;
  const act = (...rest) => (event) => {
    event.currentTarget.blur?.();
    run(...rest);
  };
  const cancel = async () => {
    const text = job.completed > 0
      ? `${plural(open(job), 'image that is', 'images that are')} not done will not be processed. The ${plural(job.completed, 'finished image')} and their files stay.`
      : 'No image is done yet, so none will be processed. You can retry them later.';
    if (await confirm({ title: 'Cancel this job?', text, action: 'Cancel the job', dismiss: 'Let it run' })) run('The job could not be cancelled', () => cancelJob(id));
  };
  if (!ended(job)) {
    return html`<div class="row actions"><button type="button" disabled=${busy} onClick=${cancel}>Cancel the job…</button>
      <span class="faint">Downloads and retries are here when the job has ended.</span></div>
      <${ErrorNote} error=${error} title=${title} retry=${again} />`;
  }

  const captions = limits.captions && caller?.captions !== false ? limits.captions : null;
  const retried = job.failed;
  const worth = job.images.some(retryHelps);
  const missing = job.images.filter(filters.uncaptioned.passes).map((image) => image.index);
  const captioned = job.images.filter((image) => recordOf(id, image.index)?.captioned);
  const caption = async () => {
    const text = html`A new job processes ${plural(missing.length, 'image')} again. A small copy of each goes to the model <bdi>${captions.model}</bdi> at <bdi>${captions.host}</bdi>. This job stays as it is.`;
    if (!(await confirm({ title: 'Ask the model again?', text, action: `Caption ${plural(missing.length, 'image')}`, danger: false }))) return;
    run('The new job could not be made', newJob(id, 'reprocess', { images: missing, captions: true }, { text: `It captions ${plural(missing.length, 'image')} of an earlier job.`, wanted: missing.length }));
  };
  const remove = async () => {
    const text = `A model wrote texts of ${plural(captioned.length, 'image')}. A new job makes all ${plural(job.completed, 'file')} again without them; texts of the files themselves stay. This job and its files stay as they are: download the new ones.`;
    if (!(await confirm({ title: "Remove the model's words?", text, action: 'Make files without them', danger: false }))) return;
    const images = job.images.filter((image) => image.status === 'completed').map((image) => image.index);
    run('The new job could not be made', newJob(id, 'reprocess', { remove_captions: true, ...(images.length < job.total_images && { images }) },
      { text: `It makes ${plural(images.length, 'file')} of an earlier job again, without a model's words.`, wanted: images.length }));
  };
  const lines = async () => {
    await download(id, { what: 'jsonl' });
    announce('The download has started');
  };
  return html`<div class="row actions">
      ${job.completed > 0 && html`<button type="button" class="primary" onClick=${() => onDialog('zip')}>ZIP…</button>`}
      <button type="button" disabled=${busy} title="One line of JSON for each image" onClick=${act('The download could not start', lines)}>JSONL</button>
      ${worth && html`<button type="button" disabled=${busy} onClick=${act('The new job could not be made', newJob(id, 'retry', undefined, { text: `It retries ${plural(retried, 'image')} of an earlier job.`, wanted: retried }))}>Retry ${retried} ${failedWord(job)}</button>`}
      <button type="button" onClick=${() => onDialog('reprocess')}>Reprocess…</button>
      ${captions && missing.length > 0 && html`<button type="button" disabled=${busy} onClick=${caption}>Caption the ${missing.length} missing…</button>`}
      ${captioned.length > 0 && html`<button type="button" disabled=${busy} onClick=${remove}>Remove model's words…</button>`}
    </div>
    ${retried > 0 && !worth && html`<p class="faint">A retry would fail again: the files themselves have to change.</p>`}
    ${missing.length > 0 && !captions && html`<p class="faint">${limits.captions ? 'This API key keeps its images from every model' : 'Captions are off at this gateway'}, so the ${plural(missing.length, 'missing caption')} cannot be made now.</p>`}
    <${ErrorNote} error=${error} title=${title} retry=${again} />
    ${dialog === 'zip' && html`<${ZipDialog} job=${job} recordOf=${recordOf} onClose=${() => onDialog('')} />`}
    ${dialog === 'reprocess' && html`<${ReprocessDialog} job=${job} chosen=${chosen} captions=${captions} onClose=${() => onDialog('')} />`}`;
}
