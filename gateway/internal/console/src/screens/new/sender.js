// Sends an upload, request after request. One at a time: a second one would share the same
// connection to the gateway, and double what a broken connection repeats. The upload goes on
// whichever screen is shown.
import { connected, onConnection, onKeyChange, upload as post } from '../../lib/api.js';
import { jobsChanged } from '../../lib/counts.js';
import { bytes, bytesOf as amount, plural, shortId } from '../../lib/format.js';
import { randomId } from '../../lib/hash.js';
import { remember } from '../../lib/localPictures.js';
import { announce, confirm } from '../../lib/ui.js';
import { rememberSent } from './history.js';
import { baseName, pendingOf } from './parts.js';
import { bytesOf, formOf, labelOf, maxRequestBytes, plan } from './plan.js';
import { Speed } from './speed.js';
import { store } from './store.js';
import { announceSending, forgetUpload, jobsOfUpload, saveUpload, withJobs } from './uploads.js';

/** current.upload is the upload of this tab, or null. */
export const current = store({ upload: null });

announceSending(() => (current.get().upload && current.get().upload.state !== 'done' ? current.get().upload.id : ''));

/** busy reports whether an upload is being sent, or waits until it can be. */
export const busy = (upload) => ['sending', 'waiting', 'stopping'].includes(upload?.state);

// What a proxy has taught this page: larger requests do not arrive.
let maxBytes = maxRequestBytes;
let refusedBytes = Infinity; // size of the smallest single image that a proxy has refused

const slowest = 30_000; // between two tries
const maxFaults = 5; // of the gateway itself, after which a person must look
const maxBreaks = 3; // of a request in a row, after which it is halved
const showEvery = 200; // ms

class Upload {
  state = 'sending'; // waiting, stopping, stopped or done
  wait = null; // {reason, until}
  error = null; // an ApiError that ended the sending
  lost = []; // {path, reason, again, part}: images that could not be sent, and whether choosing them again helps
  smaller = ''; // why the requests are smaller than usual
  speed = new Speed();
  #loaded = 0; // bytes of the present request
  #whole = false; // the present request was sent to its end, so the gateway may have it
  #stop = null;
  #wake = () => {}; // ends the waiting; true: the person does not want to wait
  #shown = 0;
  #quarter = 0;

  constructor({ id, label, captions, created, maxImages, next, parts }) {
    Object.assign(this, { id, label, captions, created, maxImages, next, parts });
    for (const part of parts) part.bytes = part.jobId ? 0 : bytesOf(part.items);
  }

  get total() { return this.parts.reduce((sum, part) => sum + part.bytes, 0); }
  get sent() { return this.parts.reduce((sum, part) => sum + (part.jobId ? part.bytes : 0), this.#loaded); }
  get images() { return this.parts.reduce((sum, part) => sum + (part.total ?? part.items.length), 0); }
  get sentImages() { return this.parts.reduce((sum, part) => sum + (part.jobId ? part.total : 0), 0); }
  get jobs() { return this.parts.flatMap((part) => part.jobId ?? []); }
  get pending() { return pendingOf(this); }
  get part() { return this.parts.find((part) => !part.jobId); }
  get left() { return this.speed.left(this.total - this.sent); }

  #show(changes) {
    Object.assign(this, changes);
    this.#shown = Date.now();
    current.set({});
  }

  /** run sends what is left. It never throws. */
  async run() {
    this.#stop = new AbortController();
    this.#show({ state: 'sending', error: null, wait: null });
    addEventListener('beforeunload', warn);
    announce(`Sending ${plural(this.images - this.sentImages, 'image')}`);
    try {
      let tries = { breaks: 0, faults: 0, waits: 0 };
      for (let part; (part = this.part) && !this.#stopped;) {
        if (await this.#attempt(part, tries)) tries = { breaks: 0, faults: 0, waits: 0 };
      }
    } catch (err) {
      if (err.code !== 'aborted') {
        this.error = err.advice === undefined ? { text: String(err.message ?? err), advice: 'Continue to try again.' } : err;
      }
    }
    removeEventListener('beforeunload', warn);
    this.#loaded = 0;
    this.speed.reset();
    this.#show({ state: this.part ? 'stopped' : 'done', wait: null });
    if (this.part) saveUpload(this);
    else forgetUpload(this.id);
    announce(this.#outcome());
    if (this.state === 'done') ended?.(this);
    if (this.error?.status === 401) this.#continueWithKey();
  }

  #continueWithKey() {
    const off = onKeyChange((key) => {
      off();
      if (key && this.state === 'stopped' && current.get().upload === this) this.run();
    });
  }

  get #stopped() { return this.#stop.signal.aborted || this.state === 'stopping'; }

  #outcome() {
    const lost = this.lost.length > 0 ? `, ${plural(this.lost.length, 'image')} could not be sent` : '';
    return this.state === 'done' ? `${plural(this.sentImages, 'image')} sent${lost}` : `Stopped. ${this.sentImages} of ${plural(this.images, 'image')} sent${lost}`;
  }

  /** stop ends the sending. A request that is already complete still gets its response, so that it
   * is known whether its images were sent; stopping a second time does not wait for that. */
  stop() {
    if (this.state === 'sending' && this.#whole) this.#show({ state: 'stopping' });
    else this.#stop.abort();
    this.#wake();
  }

  /** tryNow ends the waiting. */
  tryNow() { this.#wake(true); }

  // attempt sends a request once. It reports whether the next one may start with a clean record.
  async #attempt(part, tries) {
    await this.#dropUnreadable(part);
    this.#dropRefused(part);
    if (part.items.length === 0) {
      this.parts = this.parts.filter((other) => other !== part);
      return true;
    }
    [this.#loaded, this.#whole] = [0, false];
    this.#show({ state: 'sending', wait: null });
    saveUpload(this);
    try {
      const { data } = await post('api/v1/batch', formOf(part.items, this, part.number), {
        headers: { 'Idempotency-Key': part.key }, signal: this.#stop.signal, onProgress: (loaded, total) => this.#progress(part, loaded, total),
      });
      this.#done(part, data.job_id);
      return true;
    } catch (err) {
      const whole = this.#whole;
      [this.#loaded, this.#whole] = [0, false];
      this.speed.reset();
      if (err.code === 'aborted') throw err;
      await this.#after(err, part, tries, whole);
      return false;
    }
  }

  #progress(part, loaded, total) {
    this.#whole = total > 0 && loaded >= total;
    this.#loaded = total > 0 ? Math.min(1, loaded / total) * part.bytes : 0;
    this.speed.add(this.sent);
    if (Date.now() - this.#shown < showEvery && !this.#whole) return;
    this.#show({});
    const quarter = Math.floor((4 * this.sent) / this.total);
    if (quarter > this.#quarter && quarter < 4) announce(`${quarter * 25} % sent`);
    this.#quarter = Math.max(quarter, this.#quarter);
  }

  #done(part, jobId) {
    this.#loaded = 0;
    keepPictures(jobId, part.items);
    rememberSent(part.items);
    Object.assign(part, { jobId, total: part.items.length, items: [] });
    saveUpload(this);
    jobsChanged();
    this.#show({});
  }

  // after decides what follows from an error: it waits, changes the requests, or throws.
  async #after(err, part, tries, whole) {
    const { status, code, text, retryAfter } = err;
    if (whole && (status === 0 || status === 408 || status >= 500) && await this.#arrived(part)) return;
    const backOff = (n) => Math.min(slowest, 1000 * 2 ** n) * (0.75 + Math.random() / 2);
    if (status === 413 && !(part.items.length === 1 && part.items[0].url)) {
      this.#halve(part, code === 'proxy' ? 'A proxy in front of the gateway' : 'The gateway');
    } else if (status === 0 || status === 408 || (code === 'proxy' && status >= 500)) {
      if (++tries.breaks % maxBreaks === 0 && !whole && connected() && part.items.length > 1) this.#halve(part, '');
      const reason = status === 0 ? 'The connection broke.' : status === 408 ? 'The connection is slow.' : 'A proxy does not reach the gateway.';
      let hurry = await this.#pause(retryAfter * 1000 || backOff(tries.breaks - 1), reason);
      // While the gateway cannot be reached, lib/api.js looks for it with small requests.
      while (!connected() && !this.#stopped && !hurry) hurry = await this.#pause(0, `${reason} The upload continues when the gateway answers again.`);
    } else if (status === 429 || status === 503) {
      await this.#pause(retryAfter * 1000 || backOff(tries.waits++), status === 429 ? `${text}.` : `The gateway is busy: ${text}.`);
    } else if (status === 409 && retryAfter > 0) {
      await this.#pause(retryAfter * 1000, 'The gateway is still receiving the last try.');
    } else if (status === 422) {
      await this.#askAgain(part, err);
    } else if (status >= 500 && ++tries.faults < maxFaults) {
      await this.#pause(backOff(tries.faults), `${text}.`);
    } else {
      throw err;
    }
  }

  // pause waits for ms, or without ms until the gateway can be reached. It reports whether the person
  // ended that.
  async #pause(ms, reason) {
    if (this.#stopped) return false;
    this.#show({ state: 'waiting', wait: { reason, until: ms > 0 ? Date.now() + ms : 0 } });
    announce(ms > 0 ? `${reason} Next try in ${Math.ceil(ms / 1000)} s` : reason);
    let timer = 0;
    let off = () => {};
    const hurried = await new Promise((resolve) => {
      this.#wake = (hurry = false) => resolve(hurry);
      if (ms > 0) timer = setTimeout(resolve, ms, false);
      else off = onConnection((now) => now && resolve(false));
    });
    clearTimeout(timer);
    off();
    this.#wake = () => {};
    return hurried;
  }

  // arrived reports whether the gateway has the request although its response was lost.
  async #arrived(part) {
    try {
      const [arrived] = withJobs([part], await jobsOfUpload(this.id, { signal: this.#stop.signal, background: true }));
      if (!arrived) return false;
      keepPictures(...arrived);
      saveUpload(this);
      this.#show({});
      return true;
    } catch {
      return false;
    }
  }

  async #askAgain(part, err) {
    const jobs = await jobsOfUpload(this.id, { background: true }).catch(() => []);
    const job = jobs.find(({ metadata }) => metadata.part === String(part.number));
    const again = await confirm({
      title: 'Send these images as a new batch?',
      text: `The gateway already received ${job ? `job ${shortId(job.job_id)} with ${plural(job.total_images, 'image')}` : 'a batch'} from an earlier try, but the files were not the same. `
        + `You can send ${plural(part.items.length, 'image')} as a new batch. Images that were in both are then processed twice.`,
      action: 'Send as a new batch', danger: false,
    });
    if (again) part.key = randomId();
    else if (job) {
      this.lost = this.lost.filter((one) => one.part !== part.number); // the job has them
      Object.assign(part, { jobId: job.job_id, total: job.total_images, items: [] });
    } else throw err;
  }

  #lose(part, items, reason, again = true) {
    if (items.length === 0) return;
    this.lost = [...this.lost, ...items.map(({ path }) => ({ path, reason, again, part: part.number }))];
    part.items = part.items.filter((item) => !items.includes(item));
    part.bytes = bytesOf(part.items);
    announce(`${plural(items.length, 'image')} cannot be sent: ${reason}`);
  }

  // Browsers report a file that has changed since it was chosen as a broken connection, so each file
  // is tried before it is sent.
  async #dropUnreadable(part) {
    const gone = new Set();
    await Promise.all(part.items.map(async (item) => {
      if (item.url || !item.file) return;
      try {
        await item.file.slice(0, 1).arrayBuffer();
      } catch {
        gone.add(item);
      }
    }));
    this.#lose(part, part.items.filter((item) => gone.has(item)), 'changed or vanished since you chose it');
    this.#lose(part, part.items.filter((item) => !item.url && !item.file), 'not chosen again');
  }

  #dropRefused(part) {
    this.#lose(part, part.items.filter((item) => item.size >= refusedBytes), 'larger than a proxy in front of the gateway accepts; its limit must be raised', false);
  }

  // halve divides this request and the later ones again. Without `by`, larger requests broke too often.
  #halve(part, by) {
    const [first, ...others] = part.items;
    if (others.length === 0) {
      refusedBytes = Math.min(refusedBytes, first.size);
      return; // the next attempt leaves it out
    }
    maxBytes = Math.max(1, Math.min(maxBytes, Math.floor(part.bytes / 2)));
    const reason = by ? `${by} accepts only smaller requests` : 'Larger requests broke several times';
    this.smaller = `${reason}: the rest is sent in requests of at most ${bytes(maxBytes)}.`;
    this.parts = [...this.parts.filter((other) => other.jobId), ...requests(this, plan(this.pending, { maxBytes, maxImages: this.maxImages }))];
    announce(this.smaller);
  }

  /** amount returns "18 of 31 MB". */
  get amount() { return amount(this.sent, this.total); }
}

function requests(upload, lists) {
  return lists.map((items) => ({ number: upload.next++, key: randomId(), items, bytes: bytesOf(items) }));
}

// keepPictures lets the cards of a job show its pictures before their thumbnails exist.
function keepPictures(jobId, items) {
  items.forEach((item, i) => item.file && remember(jobId, i, item.file));
}

function warn(event) {
  event.preventDefault();
}

let ended = null;

/** onSent calls the listener with each upload that was sent to its end, instead of the last one. */
export function onSent(listener) {
  ended = listener;
  return () => { if (ended === listener) ended = null; };
}

/** start sends images as a new upload. */
export function start(items, { captions, maxImages }) {
  const upload = new Upload({ id: randomId(), label: labelOf(items), captions, created: Date.now(), maxImages, next: 1, parts: [] });
  upload.parts = requests(upload, plan(items, { maxBytes, maxImages }));
  current.set({ upload });
  upload.run();
}

/** resume continues an interrupted upload. Its items have the files that were chosen again. */
export function resume(stored, files) {
  const parts = stored.parts.map((part) => (part.jobId ? part : {
    ...part, items: part.items.map((item) => (item.url ? { ...item, name: item.url, path: item.url, size: 0 } : { ...item, name: baseName(item.path), file: files.get(item) })),
  }));
  const upload = new Upload({ ...stored, parts });
  current.set({ upload });
  upload.run();
}

/** giveUp forgets an upload that is not being sent, and returns the images that were not sent. */
export function giveUp(upload) {
  forgetUpload(upload.id);
  if (current.get().upload === upload) current.set({ upload: null });
  return upload.pending;
}
