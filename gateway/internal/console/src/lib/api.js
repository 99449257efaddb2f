// The only module that sends requests. All paths are relative to the page, so that it works below
// any path.
import { ApiError, errorOf } from './advice.js';
import { askForKey, key, onKeyChange } from './key.js';
import { useEffect, useState } from './preact.js';
import { eventParser } from './sse.js';

export { ApiError };
export { askForKey, key, keyRemembered, onKeyChange, setKey } from './key.js';

const requestTime = 60_000; // for a response to a small request
const fileTime = 600_000; // for a file
const stallTime = 60_000; // without any progress

/** address returns the absolute URL of a path of the API. */
export const address = (path) => new URL(path, document.baseURI);

/** jobPath returns the path of a job, and of what is below it: jobPath(id, 'images/3/thumbnail'). */
export const jobPath = (id, rest = '') => `api/v1/batch/${encodeURIComponent(id)}${rest && `/${rest}`}`;

/** request sends a request and returns {data, headers, status}.
 * - body: an object is sent as JSON; FormData, Blob and text are sent as they are
 * - query: names and values; those that are null, undefined or '' are left out
 * - as: 'json' (default), 'text' or 'blob'
 * - background: a 401 fails instead of opening the key dialog
 * A 304 has no data. Every other status that is not a success throws an ApiError. */
export function request(method, path, options = {}) {
  return withKey(options.background, () => send(method, path, options));
}

// withKey repeats what failed for want of a key as soon as there is another one.
async function withKey(background, attempt) {
  for (;;) {
    const used = key();
    try {
      if (required && !used) throw new ApiError(401, 'API key required'); // the gateway would only repeat it
      return await attempt();
    } catch (err) {
      if (err.status !== 401 || err.code === 'proxy' || background) throw err;
      if (key() === used && !(await askForKey(err.text))) throw err;
    }
  }
}

function headersFor(headers, secret = key()) {
  return { ...(secret && { Authorization: `Bearer ${secret}` }), ...headers };
}

async function send(method, path, { body, headers = {}, signal, query = {}, as = 'json', secret } = {}) {
  const url = address(path);
  for (const [name, value] of Object.entries(query)) if (value != null && value !== '') url.searchParams.set(name, value);
  const json = body && Object.getPrototypeOf(body) === Object.prototype;
  const limit = limited(signal, as === 'blob' ? fileTime : requestTime);
  try {
    const response = await fetch(url, {
      method,
      headers: headersFor(json ? { 'Content-Type': 'application/json', ...headers } : headers, secret),
      body: json ? JSON.stringify(body) : body,
      signal: limit.signal,
    });
    if (response.status === 304) return answered({ data: null, headers: response.headers, status: 304 });
    if (!response.ok) throw errorOf(response.status, await response.text(), response.headers.get('Retry-After'));
    const text = as === 'blob' ? await response.blob() : await response.text();
    const data = as !== 'json' ? text : text === '' ? null : parsed(text, response.status);
    return answered({ data, headers: response.headers, status: response.status });
  } catch (err) {
    throw failed(err, signal);
  } finally {
    limit.end();
  }
}

function parsed(text, status) {
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiError(status, 'The response is not JSON', { code: 'proxy' });
  }
}

// limited returns a signal that follows another one and ends after ms. touch starts the time again.
function limited(signal, ms) {
  const own = new AbortController();
  const abort = () => own.abort();
  let timer = setTimeout(abort, ms);
  if (signal?.aborted) abort();
  signal?.addEventListener('abort', abort);
  return {
    signal: own.signal,
    touch() {
      clearTimeout(timer);
      timer = setTimeout(abort, ms);
    },
    end() {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    },
  };
}

const aborted = () => new ApiError(0, 'Stopped', { code: 'aborted' });
const unanswered = () => new ApiError(0, 'No answer from the gateway', { code: 'offline' });

function answered(result) {
  setConnected(true);
  return result;
}

function failed(err, signal) {
  if (signal?.aborted) return aborted();
  const known = err instanceof ApiError ? err : unanswered();
  setConnected(!(known.status === 0 || (known.code === 'proxy' && known.status >= 502)));
  return known;
}

/** upload sends a form and reports its progress by onProgress(loaded, total). It resolves and
 * fails like request. */
export function upload(path, form, { headers, onProgress, signal } = {}) {
  return withKey(false, () => new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(aborted());
      return;
    }
    const xhr = new XMLHttpRequest(); // fetch reports no progress of a request
    const limit = limited(signal, stallTime);
    const fail = (err) => {
      limit.end();
      reject(failed(err, signal));
    };
    limit.signal.addEventListener('abort', () => xhr.abort());
    xhr.open('POST', address(path));
    for (const [name, value] of Object.entries(headersFor(headers))) xhr.setRequestHeader(name, value);
    xhr.upload.onprogress = (event) => {
      limit.touch();
      onProgress?.(event.loaded, event.total);
    };
    xhr.upload.onload = limit.touch;
    xhr.onerror = () => fail(unanswered());
    xhr.onabort = () => fail(unanswered());
    xhr.onload = () => {
      if (xhr.status < 200 || xhr.status > 299) {
        fail(errorOf(xhr.status, xhr.responseText, xhr.getResponseHeader('Retry-After')));
        return;
      }
      try {
        const fields = xhr.getAllResponseHeaders().split('\r\n').filter(Boolean).map((line) => line.split(/: ?(.*)/s).slice(0, 2));
        const data = parsed(xhr.responseText, xhr.status);
        limit.end();
        resolve(answered({ data, headers: new Headers(fields), status: xhr.status }));
      } catch (err) {
        fail(err);
      }
    };
    xhr.send(form);
  }));
}

/** stream returns an async iterator over the server-sent events of a path, as {event, data, id}.
 * It ends with the stream, and throws an ApiError if the connection is lost or silent. */
export async function* stream(path, { signal, headers } = {}) {
  const limit = limited(signal, stallTime); // the gateway sends a comment every 25 s
  try {
    const response = await fetch(address(path), { headers: headersFor({ Accept: 'text/event-stream', ...headers }), signal: limit.signal });
    if (!response.ok) throw errorOf(response.status, await response.text(), response.headers.get('Retry-After'));
    if (!response.body || response.status === 204) return;
    const [parse, decoder, reader] = [eventParser(), new TextDecoder(), response.body.getReader()];
    answered();
    for (let part; !(part = await reader.read()).done;) {
      limit.touch();
      yield* parse(decoder.decode(part.value, { stream: true }));
    }
  } catch (err) {
    throw failed(err, signal);
  } finally {
    limit.end();
  }
}

// Thumbnails with a key are fetched, at most six at a time, so that other requests are not stuck
// behind them.
const maxPictures = 6;
let pictures = 0;
const waiting = [];

/** picture fetches an image of the API and returns an object URL, which the caller revokes. */
export async function picture(path, signal) {
  if (pictures >= maxPictures) await new Promise((resolve) => waiting.push(resolve));
  else pictures++;
  try {
    for (let tries = 1; ; tries++) {
      if (signal?.aborted) throw aborted();
      try {
        const { data } = await request('GET', path, { as: 'blob', signal });
        return URL.createObjectURL(data);
      } catch (err) {
        if (tries === 4 || ![429, 503].includes(err.status)) throw err;
        await new Promise((resolve) => setTimeout(resolve, Math.min(err.retryAfter || tries, 30) * 1000));
      }
    }
  } finally {
    const next = waiting.shift();
    if (next) next();
    else pictures--;
  }
}

/** pictureSrc returns what an <img> can load by itself, if no key is needed, and '' otherwise. */
export const pictureSrc = (path) => (key() ? '' : address(path).href);

/** release revokes an object URL soon: an <img> that has just received it may not have read it yet. */
export function release(url) {
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/** useImage returns a src for an image of the API: '' while it loads, and null if it cannot be
 * loaded. Without a path it loads nothing. It revokes the object URL by itself. */
export function useImage(path) {
  const [loaded, set] = useState({ path: '', src: '' });
  const secret = useKey();
  useEffect(() => {
    if (!path || !secret) return undefined;
    const stop = new AbortController();
    let url = '';
    picture(path, stop.signal).then((src) => {
      url = src;
      if (stop.signal.aborted) URL.revokeObjectURL(src);
      else set({ path, src });
    }, (err) => {
      if (err.code !== 'aborted') set({ path, src: null });
    });
    return () => {
      stop.abort();
      if (url) release(url);
    };
  }, [path, secret]);
  if (!path) return '';
  if (!secret) return pictureSrc(path);
  return loaded.path === path ? loaded.src : '';
}

/** useKey returns the key, and renders again when it changes. */
export function useKey() {
  const [value, set] = useState(key());
  useEffect(() => {
    set(key());
    return onKeyChange(set);
  }, []);
  return value;
}

/** download saves a result of a job. what is 'zip', 'jsonl', 'file', 'original', 'metadata' or
 * 'xmp'; image is an index; include and paths are those of results.zip. The gateway returns a
 * path that works once and needs no key, so the browser itself saves the file, of any size. */
export async function download(jobID, { what, image, include, paths }) {
  const { data } = await request('POST', jobPath(jobID, 'download'), { body: { what, image, include, paths } });
  const link = document.createElement('a');
  link.href = address(data.path).href;
  link.download = ''; // an error response must not replace the page
  document.body.append(link);
  link.click();
  link.remove();
}

/** pageSource returns the HTML of the page, which needs no key. */
export const pageSource = async () => (await send('GET', './', { as: 'text' })).data;

let limitsRequest = null;
let required = false; // the gateway has keys

/** limits returns what GET /api/v1/limits returns. It is requested once. */
export function limits() {
  limitsRequest ??= send('GET', 'api/v1/limits').then(({ data }) => {
    required = data.keys;
    return data;
  });
  limitsRequest.catch(() => { limitsRequest = null; });
  return limitsRequest;
}

/** caller returns {name, operator, captions} of a key, normally the present one. operator is
 * undefined if the gateway does not report it. With another key as `secret`, a 401 fails. */
export async function caller({ secret, background, signal } = {}) {
  const ask = secret === undefined
    ? (path, query) => request('GET', path, { background, signal, query })
    : (path, query) => send('GET', path, { signal, query, secret });
  try {
    return { name: '', captions: true, ...(await ask('api/v1/key')).data };
  } catch (err) {
    if (err.status !== 404 || err.code === 'proxy') throw err;
  }
  // An older gateway has no such route. A small list shows whether the key is right.
  await ask('api/v1/batch', { limit: 1, view: 'summary' });
  return { name: '', operator: undefined, captions: true };
}

let reachable = true;
let probe = 0;
let probes = 0;
const watchers = new Set();

/** connected reports whether the gateway answered the last request. While it does not, the page
 * tries again by itself. */
export const connected = () => reachable;

/** onConnection calls the listener with true or false after each change. */
export function onConnection(listener) {
  watchers.add(listener);
  return () => watchers.delete(listener);
}

function setConnected(now) {
  if (now) probes = 0;
  else scheduleProbe();
  if (now === reachable) return;
  reachable = now;
  for (const watcher of watchers) watcher(now);
}

function scheduleProbe() {
  if (probe) return;
  probe = setTimeout(() => {
    probe = 0;
    if (!reachable) check();
  }, Math.min(15_000, 1000 * 2 ** probes++) * (0.5 + Math.random() / 2));
}

// A failed check schedules the next one.
function check() {
  send('GET', 'api/v1/limits').catch(() => {});
}

// The browser's word is only a hint: a gateway on this machine answers without a network.
globalThis.addEventListener?.('online', check);
globalThis.addEventListener?.('offline', check);
