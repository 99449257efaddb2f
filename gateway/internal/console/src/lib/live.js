// Watching a job: over a WebSocket, over server-sent events where that is blocked, and by polling
// at last. All watchers of a job share one connection.
import { address, jobPath, key, onConnection, onKeyChange, request, stream } from './api.js';
import { jobsChanged } from './counts.js';
import { applyMessage, differences } from './merge.js';
import { useEffect, useState } from './preact.js';
import { ended } from './state.js';

const tries = 2; // that fail before the next way is tried
const pollEvery = 3000;
const pollsPerRound = 20; // after which the better ways get another try
const checkEvery = 30_000; // whether an open connection still brings the changes
const linger = 2000; // for which an unused watcher stays, because the next screen may need it
const slowest = 15_000; // between two connections

const watchers = new Map();

class Watcher {
  job = null;
  connection = 'polling';
  gone = false;
  error = null;
  #id;
  #listeners = new Set();
  #changed = new Set();
  #notifying = 0;
  #leaving = 0;
  #refreshing = 0;
  #running = false;
  #tag = '';
  #stop = new AbortController();
  #interrupt = () => {}; // ends what the loop waits for

  constructor(id) {
    this.#id = id;
    const again = () => this.#interrupt();
    const offs = [
      onKeyChange(() => {
        this.#tag = '';
        if (this.#running) again();
        else this.#run(); // another key may not see the job
      }),
      onConnection((now) => now && again()),
    ];
    let hidden = 0;
    const seen = () => {
      if (document.visibilityState === 'hidden') hidden = Date.now();
      else if (Date.now() - hidden > checkEvery) again(); // a sleeping device loses its connections silently
    };
    addEventListener('online', again);
    document.addEventListener('visibilitychange', seen);
    this.#stop.signal.addEventListener('abort', () => {
      for (const off of offs) off();
      removeEventListener('online', again);
      document.removeEventListener('visibilitychange', seen);
      clearTimeout(this.#notifying);
      clearTimeout(this.#refreshing);
      this.#interrupt();
    });
    this.#run();
  }

  add(listener) {
    clearTimeout(this.#leaving);
    this.#listeners.add(listener);
    if (this.job || this.gone || this.error) listener(this.#state('all'));
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) {
        clearTimeout(this.#leaving);
        this.#leaving = setTimeout(() => {
          watchers.delete(this.#id);
          this.#stop.abort();
        }, linger);
      }
    };
  }

  get #stopped() { return this.#stop.signal.aborted; }

  #state(changed) {
    return { job: this.job, changed, connection: this.connection, gone: this.gone, error: this.error };
  }

  // Changes are collected for a moment: a job with 100 ended images sends 100 messages.
  #notify(changed = []) {
    if (changed === 'all') this.#changed = 'all';
    else if (this.#changed !== 'all') for (const index of changed) this.#changed.add(index);
    this.#notifying ||= setTimeout(() => {
      this.#notifying = 0;
      const all = this.#changed;
      this.#changed = new Set();
      for (const listener of this.#listeners) listener(this.#state(all));
    }, 40);
  }

  #connect(connection, error = null) {
    if (this.connection === connection && this.error === error) return;
    this.connection = connection;
    this.error = error;
    this.#notify();
  }

  // wait resolves after ms, or earlier when something has changed.
  #wait(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#interrupt = () => {
        clearTimeout(timer);
        resolve();
      };
      if (this.#stopped) this.#interrupt();
    });
  }

  async #run() {
    this.#running = true;
    this.gone = false;
    await this.#follow();
    this.#running = false;
  }

  // follow returns when the job has ended or is gone, and when the watcher is stopped.
  async #follow() {
    let failures = 0;
    let [sockets, streams, polls] = [0, 0, 0]; // tries that failed in a row
    while (!this.#stopped) {
      try {
        await this.#refresh();
        if (ended(this.job)) {
          this.#connect(this.connection === 'offline' ? 'polling' : this.connection);
          return;
        }
        const start = Date.now();
        let opened = true;
        if (sockets < tries) {
          opened = await this.#socket();
          sockets = opened ? 0 : sockets + 1;
        } else if (streams < tries) {
          opened = await this.#events();
          streams = opened ? 0 : streams + 1;
        } else {
          this.#connect('polling');
          await this.#wait(pollEvery);
          if (++polls % pollsPerRound === 0) [sockets, streams] = [tries - 1, tries - 1];
          continue;
        }
        failures = opened && Date.now() - start > 5000 ? 0 : failures + 1;
        if (!opened && sockets === tries && (streams === 0 || streams === tries)) failures = 0; // the next way is tried at once
      } catch (err) {
        if (this.#stopped) return;
        if (err.status === 404) {
          this.gone = true;
          this.error = err;
          this.#notify();
          jobsChanged();
          return;
        }
        if (err.status === 401) { // the person has closed the key dialog
          this.#connect(this.connection, err);
          await this.#wait(2 ** 31 - 1);
          continue;
        }
        this.#connect('offline', err);
        failures++;
        if (err.retryAfter) await this.#wait(Math.min(err.retryAfter, 60) * 1000);
      }
      if (!this.#stopped && failures > 0) await this.#wait(Math.min(slowest, 250 * 2 ** failures) * (0.5 + Math.random() / 2));
    }
  }

  // refresh reads the job. It reports whether that was news.
  async #refresh() {
    const headers = this.job && this.#tag ? { 'If-None-Match': this.#tag } : {};
    const { data, headers: fields, status } = await request('GET', jobPath(this.#id), { headers, signal: this.#stop.signal });
    if (status === 304) return false;
    this.#tag = fields.get('ETag') ?? '';
    const changed = differences(this.job, data);
    this.job = data;
    if (changed === null) return false;
    if (ended(data)) jobsChanged();
    this.#notify(changed);
    return true;
  }

  #message(text) {
    const message = JSON.parse(text);
    const { job, changed } = applyMessage(this.job, message);
    this.job = job;
    this.#notify(changed);
    // Only the job itself shows that an image is no longer waiting.
    if (!ended(job) && job.images?.some((image) => image.status === 'pending')) {
      this.#refreshing ||= setTimeout(() => {
        this.#refreshing = 0;
        this.#refresh().catch(() => {}); // the connection reports it too
      }, 2000);
    }
  }

  // socket follows the job until the connection ends. It reports whether there was one.
  #socket() {
    return new Promise((resolve) => {
      const url = address(jobPath(this.#id, 'ws'));
      url.protocol = url.protocol.replace('http', 'ws');
      url.hash = '';
      let socket;
      try {
        socket = new WebSocket(url, key() ? ['imagebatch', `imagebatch.bearer.${key()}`] : []);
      } catch {
        resolve(false); // a policy or a browser that refuses
        return;
      }
      let opened = false;
      const late = setTimeout(() => socket.close(), 10_000);
      const checks = setInterval(() => this.#check(() => socket.close()), checkEvery);
      const end = () => {
        clearTimeout(late);
        clearInterval(checks);
        this.#interrupt = () => {};
        resolve(opened);
      };
      this.#interrupt = () => {
        socket.onmessage = null;
        socket.close();
        end();
      };
      socket.onopen = () => {
        opened = true;
        clearTimeout(late);
        this.#connect('live');
      };
      socket.onmessage = (event) => this.#message(event.data);
      socket.onclose = end;
    });
  }

  async #events() {
    const stop = new AbortController();
    const checks = setInterval(() => this.#check(() => stop.abort()), checkEvery);
    this.#interrupt = () => stop.abort();
    let opened = false;
    try {
      for await (const event of stream(jobPath(this.#id, 'events'), { signal: stop.signal })) {
        opened = true;
        this.#connect('events');
        this.#message(event.data);
      }
    } catch (err) {
      if (err.status === 404 || err.status === 401) throw err;
    } finally {
      clearInterval(checks);
      this.#interrupt = () => {};
    }
    return opened;
  }

  // check compares the job with the gateway's. A connection that has missed something is dead.
  async #check(reconnect) {
    const [before, changes] = [this.job, this.#tag];
    try {
      await this.#refresh();
      if (changes && before.completed + before.failed < this.job.completed + this.job.failed) reconnect();
    } catch {
      reconnect();
    }
  }
}

/** watchJob calls onChange with {job, changed, connection, gone, error} whenever the job or the
 * connection changes, and returns a function that ends that. changed is a Set of indexes or
 * 'all'; only images in it are new objects. connection is 'live', 'events', 'polling' or
 * 'offline'. gone: the job was deleted, or this key may not see it. */
export function watchJob(id, onChange) {
  let watcher = watchers.get(id);
  if (!watcher || watcher.gone) {
    watcher = new Watcher(id);
    watchers.set(id, watcher);
  }
  return watcher.add(onChange);
}

/** useJob returns what watchJob reports, or an empty object before the first answer. */
export function useJob(id) {
  const [state, set] = useState({ id, connection: 'polling', job: null, gone: false, error: null });
  useEffect(() => watchJob(id, (now) => set({ id, ...now })), [id]);
  return state.id === id ? state : { id, connection: 'polling', job: null, gone: false, error: null };
}
