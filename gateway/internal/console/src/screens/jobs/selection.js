// What a person can do with several jobs.
import { jobPath, request } from '../../lib/api.js';
import { jobsChanged } from '../../lib/counts.js';
import { plural, shortId } from '../../lib/format.js';
import { randomId } from '../../lib/hash.js';
import { html, useEffect, useRef, useState } from '../../lib/preact.js';
import { href } from '../../lib/router.js';
import { ended, open } from '../../lib/state.js';
import { announce, confirm, Icon } from '../../lib/ui.js';
import { each } from './bulk.js';

const shownProblems = 5;

const sum = (jobs, member) => jobs.reduce((total, job) => total + member(job), 0);

/** actions are what can be done with jobs: to which of them, by which request, and the texts. */
const actions = {
  cancel: {
    applies: (job) => !ended(job),
    doing: 'Cancelling',
    question: (jobs) => ({
      title: `Cancel ${plural(jobs.length, 'job')}?`,
      text: `${plural(sum(jobs, open), 'image')} will not be processed. Images that are done stay, with their files.`,
      action: `Cancel ${plural(jobs.length, 'job')}`, dismiss: jobs.length === 1 ? 'Let it run' : 'Let them run',
    }),
    send: (id) => request('POST', jobPath(id, 'cancel')),
    done: (n) => `${plural(n, 'job')} cancelled`,
    unneeded: (error) => error.status === 409,
    idle: (n) => `${plural(n, 'job')} had ended in the meantime`,
  },
  retry: {
    applies: (job) => ended(job) && job.failed > 0,
    doing: 'Retrying',
    question: (jobs) => ({
      title: `Retry the failed images of ${plural(jobs.length, 'job')}?`,
      text: `A new job is made for each of them, with ${plural(sum(jobs, (job) => job.failed), 'image')} in all. The old jobs stay as they are.`,
      action: `Retry ${plural(jobs.length, 'job')}`, danger: false,
    }),
    send: (id, key) => request('POST', jobPath(id, 'retry'), { headers: { 'Idempotency-Key': key } }),
    done: (n) => `${plural(n, 'new job')} made`,
    unneeded: (error) => error.status === 400,
    idle: (n) => `${plural(n, 'job')} left out: the gateway has no file of the failed images, so send them again`,
  },
};

/** useBulk returns {busy, result, run, close}. run(action, jobs) asks, and then acts on those jobs to
 * which the action applies. busy is {doing, done, total} meanwhile. onDone gets the IDs of the jobs
 * with which it has failed. */
export function useBulk(onDone) {
  const [busy, setBusy] = useState(null);
  const [result, setResult] = useState(null);
  const stop = useRef(null);
  useEffect(() => () => stop.current?.abort(), []);
  const run = async (name, jobs) => {
    const action = actions[name];
    const fit = jobs.filter(action.applies);
    if (busy || fit.length === 0 || !(await confirm(action.question(fit)))) return;
    const keys = new Map(fit.map((job) => [job.job_id, randomId()]));
    setResult(null);
    setBusy({ doing: action.doing, done: 0, total: fit.length });
    stop.current = new AbortController();
    const results = await each(fit.map((job) => job.job_id), (id) => action.send(id, keys.get(id)), {
      signal: stop.current.signal, onProgress: (done) => setBusy({ doing: action.doing, done, total: fit.length }),
    });
    const done = results.filter(({ error }) => !error);
    const unneeded = results.filter(({ error }) => error && action.unneeded(error));
    const failed = results.filter(({ error }) => error && !action.unneeded(error));
    const left = fit.length - results.length;
    const title = [
      (done.length > 0 || results.length === 0) && action.done(done.length), unneeded.length > 0 && action.idle(unneeded.length),
      failed.length > 0 && `${plural(failed.length, 'job')} failed`, left > 0 && `${plural(left, 'job')} not tried`,
    ].filter(Boolean).join(', ');
    setBusy(null);
    setResult({ title, problems: failed, tone: failed.length > 0 ? 'bad' : unneeded.length > 0 || left > 0 ? 'warn' : 'good' });
    announce(title);
    jobsChanged();
    onDone(failed.map(({ item }) => item));
  };
  return { busy, result, run, stop: () => stop.current.abort(), close: () => setResult(null) };
}

/** Result says what an action has done. */
export function Result({ result, onClose }) {
  if (!result) return null;
  const { title, problems, tone } = result;
  return html`<div class=${`note ${tone}`}><div><p class="note-title">${title}.</p>
    ${problems.length > 0 && html`<ul class="jobs-problems">${problems.slice(0, shownProblems).map(({ item, error }) => html`<li key=${item}>
      <a class="mono" href=${href('job', { id: item })}>${shortId(item)}</a>: <bdi>${error.text ?? error.message}</bdi>. ${error.advice}</li>`)}
      ${problems.length > shownProblems && html`<li>and ${plural(problems.length - shownProblems, 'further job')}</li>`}</ul>
      <p>${problems.length === 1 ? 'It is' : 'They are'} still selected, so that you can try again.</p>`}</div>
    <button type="button" class="plain icon" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button></div>`;
}

/** Selection is the bar for the selected jobs. */
export function Selection({ jobs, bulk, onClear }) {
  if (jobs.length === 0 && !bulk.busy) return null;
  if (bulk.busy) {
    return html`<div class="selection" role="region" aria-label="Selection"><span>${bulk.busy.doing} ${bulk.busy.done} of ${plural(bulk.busy.total, 'job')}…</span>
      <button type="button" onClick=${bulk.stop}>Stop</button></div>`;
  }
  const cancels = jobs.filter(actions.cancel.applies).length;
  const retries = jobs.filter(actions.retry.applies).length;
  return html`<div class="selection" role="region" aria-label="Selection"><span>${plural(jobs.length, 'job')} selected</span>
    ${cancels > 0 && html`<button type="button" class="danger" onClick=${() => bulk.run('cancel', jobs)}>Cancel ${cancels} open…</button>`}
    ${retries > 0 && html`<button type="button" class="primary" onClick=${() => bulk.run('retry', jobs)}>Retry ${retries} with failed images…</button>`}
    ${cancels + retries === 0 && html`<span class="faint">None is open or has failed images.</span>`}
    <button type="button" onClick=${onClear}>Clear</button></div>`;
}
