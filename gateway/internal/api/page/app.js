'use strict';

// A small client of the API. All data from the server or the user is inserted into the
// page as text. All paths are relative, so that the page works below any path.

const base = 'api/v1/batch';
const byId = (id) => document.getElementById(id);

function element(tag, text, className) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
}

function link(text, href) {
  const a = element('a', text);
  a.href = href;
  return a;
}

function note(text, bad) {
  byId('note').textContent = text;
  byId('note').className = bad ? 'error' : '';
}

// The API key, if the gateway requires one. It belongs to this tab only and is sent in
// headers, never in a URL.
const kept = 'imagebatch-api-key';
const apiKey = () => sessionStorage.getItem(kept) || '';

function ask(path, options = {}) {
  const headers = apiKey() ? { ...options.headers, Authorization: `Bearer ${apiKey()}` } : options.headers;
  return fetch(path, { ...options, headers });
}

function enterKey(event) {
  event.preventDefault();
  const key = byId('secret').value.trim();
  if (key) sessionStorage.setItem(kept, key);
  else sessionStorage.removeItem(kept);
  byId('key').reset();
  byId('key').hidden = true;
  note('');
  watch();
  recent().catch(() => {});
}

// A link or an image cannot send a key, so with a key they are fetched by this script.
async function fetched(path) {
  const response = await ask(path);
  if (!response.ok) await answer(response);
  const [, name] = /filename\*=UTF-8''(\S+)/.exec(response.headers.get('Content-Disposition')) || [];
  return { name: name ? decodeURIComponent(name) : 'jobs.json', url: URL.createObjectURL(await response.blob()) };
}

async function save(event) {
  const a = event.target.closest('a[href^="api/"]');
  if (!a || !apiKey()) return;
  event.preventDefault();
  try {
    const file = await fetched(a.href);
    const copy = link('', file.url);
    copy.download = file.name;
    copy.click();
    setTimeout(() => URL.revokeObjectURL(file.url), 60000);
  } catch (err) {
    note(err.message, true);
  }
}

async function answer(response) {
  if (response.status === 401) byId('key').hidden = false;
  const body = await response.json().catch(() => ({ error: response.statusText }));
  if (!response.ok) throw Object.assign(new Error(body.error), { status: response.status });
  return body;
}

const jobPath = (id) => `${base}/${encodeURIComponent(id)}`;
const imagePath = (id, image, kind) => `${jobPath(id)}/images/${image.index}/${kind}`;

async function submit(event) {
  event.preventDefault();
  const button = event.target.querySelector('button');
  button.disabled = true;
  try {
    note('Sending…');
    // The browser reads the files while it sends them, so any number of large files fits.
    const body = new FormData();
    for (const url of byId('urls').value.split('\n').map((s) => s.trim()).filter(Boolean)) body.append('url', url);
    for (const file of byId('files').files) body.append('image', file);
    const job = await answer(await ask(base, { method: 'POST', body }));
    note(job.message);
    byId('new').reset();
    location.hash = job.job_id;
  } catch (err) {
    note(err.message, true);
  } finally {
    button.disabled = false;
  }
}

// The displayed job. A reconnect starts with the whole job again, so no state is kept
// between connections.
let shown = { id: '', socket: null, timer: 0 };

function leave() {
  clearTimeout(shown.timer);
  if (shown.socket) shown.socket.close();
  shown = { id: '', socket: null, timer: 0 };
}

function picture(id, image) {
  const frame = element('div', undefined, 'picture');
  if (image.status === 'completed') {
    const img = element('img');
    const path = imagePath(id, image, 'thumbnail');
    if (apiKey()) {
      img.onload = () => URL.revokeObjectURL(img.src);
      fetched(path).then((file) => { img.src = file.url; }).catch(() => {});
    } else {
      img.src = path;
    }
    img.alt = '';
    img.loading = 'lazy';
    frame.append(img);
  } else {
    frame.textContent = image.status === 'failed' ? '✕' : '…';
  }
  return frame;
}

function showImage(id, image) {
  const list = byId('images');
  const old = list.children[image.index];
  if (old && old.dataset.status === image.status) return;
  const item = element('li');
  item.dataset.status = image.status;
  item.append(picture(id, image), element('div', image.original_filename));
  item.append(element('div', image.error || image.status, image.status));
  if (image.status === 'completed') {
    const nav = element('nav');
    nav.setAttribute('aria-label', image.original_filename);
    for (const kind of ['file', 'metadata']) nav.append(link(kind, imagePath(id, image, kind)));
    item.append(nav);
  }
  if (old) old.replaceWith(item);
  else list.append(item);
}

function showCounters(update) {
  byId('bar').value = update.progress;
  byId('state').textContent = `${update.status}: ${update.completed} completed, ${update.failed} failed of ${update.total_images}`;
}

async function watch() {
  leave();
  const id = location.hash.slice(1);
  byId('job').hidden = !id;
  if (!id) return;
  const mine = { id, socket: null, timer: 0 };
  shown = mine;
  if (byId('job-id').textContent !== id) {
    byId('job-id').textContent = id;
    byId('state').textContent = '';
    byId('bar').value = 0;
    byId('images').replaceChildren();
  }
  try {
    const job = await ask(jobPath(id)).then(answer);
    if (shown !== mine) return;
    job.images.forEach((image) => showImage(id, image));
    showCounters(job);
  } catch (err) {
    if (shown !== mine) return;
    byId('state').textContent = err.status ? err.message : 'No answer from the server, trying again…';
    if (err.status !== 404 && err.status !== 401) mine.timer = setTimeout(watch, 2000);
    return;
  }
  connect(mine);
}

function connect(mine) {
  const url = new URL(`${jobPath(mine.id)}/ws`, location.href);
  url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
  const protocols = apiKey() ? ['imagebatch', `imagebatch.bearer.${apiKey()}`] : [];
  const socket = new WebSocket(url, protocols);
  mine.socket = socket;
  socket.onmessage = (event) => {
    const update = JSON.parse(event.data);
    showCounters(update);
    if (update.type === 'image_complete') showImage(mine.id, update.image);
    if (update.type === 'job_complete') recent().catch(() => {});
  };
  socket.onclose = (event) => {
    if (shown !== mine || event.code === 1000) return;
    if (event.code === 4404) {
      byId('state').textContent = 'This job was deleted.';
      return;
    }
    mine.timer = setTimeout(watch, 2000);
  };
}

async function recent() {
  const { jobs } = await ask(`${base}?limit=10`).then(answer);
  if (jobs.length === 0) return;
  byId('recent').replaceChildren(...jobs.map((job) => {
    const item = element('li');
    item.append(link(job.job_id, `#${job.job_id}`), element('span', ` ${job.total_images} images, `), element('span', job.status, job.status));
    return item;
  }));
}

byId('new').addEventListener('submit', submit);
byId('key').addEventListener('submit', enterKey);
document.addEventListener('click', save);
window.addEventListener('hashchange', () => { watch(); recent().catch(() => {}); });
watch();
recent().catch(() => {});
