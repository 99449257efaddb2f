// Measures the console against a standalone of its own and writes the results into docs/performance.md. `make bench-console` runs it.
// Each figure stands next to one that was measured in the same run, in the same browser.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openAsBlob, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { cpus, loadavg, tmpdir, totalmem } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { launch } from './browser.mjs';
import { drop, photo, write } from './files.mjs';
import { largeUpload } from './large.mjs';
import { until } from './rig.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const doc = join(root, 'docs/performance.md');
const range = (n) => [...Array(n).keys()];
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const run = (command, ...args) => execFileSync(command, args, { cwd: root, encoding: 'utf8' }).trim();
const load = () => loadavg().map((value) => value.toFixed(2)).join(' ');

// freePort returns a port that nothing listens on.
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

// firstPaint returns the time in ms from the start of a navigation until the browser draws the first content. The context is new, so nothing is
// cached, but its process has already shown a page, as that of an open browser.
async function firstPaint(browser, base, path) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${base}/readyz`);
  await page.goto(base + path);
  const paint = await until(() => page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime), 'the first paint');
  await context.close();
  return paint;
}

// paints alternates between the console and the smallest page of the same gateway.
async function paints(browser, base) {
  const [console, smallest] = [[], []];
  for (let i = 0; i < 21; i++) {
    console.push(await firstPaint(browser, base, '/'));
    smallest.push(await firstPaint(browser, base, '/healthz'));
  }
  return { console: median(console), smallest: median(smallest) };
}

// settled waits until no image is open, so that the next measurement has the machine for itself.
const settled = (base) => until(async () => {
  const counts = await (await fetch(`${base}/api/v1/counts`)).json();
  return counts.pending + counts.processing === 0;
}, 'the end of all jobs', 120);

const files = 45;
const fileBytes = 9_850_000;
const perRequest = 5; // what fits into the 50 MB of a request

// byBrowser drops the files on the page and returns the seconds until the last one is sent, and the largest heap of the page in MB.
async function byBrowser(browser, base, paths) {
  const page = await (await browser.newContext()).newPage();
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable');
  await page.goto(base);
  await page.locator('h1').waitFor();
  let heap = 0;
  const look = async () => {
    const { metrics } = await session.send('Performance.getMetrics');
    heap = Math.max(heap, metrics.find(({ name }) => name === 'JSHeapUsedSize').value);
  };
  await drop(page, '.new-drop', paths);
  const send = page.getByRole('button', { name: `Send ${paths.length}` });
  await send.waitFor();
  const start = performance.now();
  await send.click();
  await until(async () => {
    await look();
    return page.url().includes('#/uploads/');
  }, 'the end of the upload', 120);
  const seconds = (performance.now() - start) / 1000;
  await page.context().close();
  return { seconds, heap: heap / 1e6 };
}

// byProgram sends the same files in requests of the same size, without a browser.
async function byProgram(base, paths) {
  const start = performance.now();
  for (let i = 0; i < paths.length; i += perRequest) {
    const form = new FormData();
    for (const path of paths.slice(i, i + perRequest)) form.append('image', await openAsBlob(path), basename(path));
    const response = await fetch(`${base}/api/v1/batch`, { method: 'POST', body: form });
    if (response.status !== 201) throw new Error(`${response.status} ${await response.text()}`);
    await response.arrayBuffer();
  }
  return (performance.now() - start) / 1000;
}

async function uploads(browser, base, folder) {
  const paths = write(folder, Object.fromEntries(range(files).map((i) => [`IMG_${i}.jpg`, photo(i, fileBytes)])));
  const [page, program, heaps] = [[], [], []];
  for (let i = 0; i < 3; i++) {
    const { seconds, heap } = await byBrowser(browser, base, paths);
    page.push(seconds);
    heaps.push(heap);
    await settled(base);
    program.push(await byProgram(base, paths));
    await settled(base);
  }
  return { page: median(page), program: median(program), heap: Math.max(...heaps), megabytes: (files * fileBytes) / 1e6 };
}

// traced returns the processor time of the page's main thread in ms while act runs.
async function traced(page, act) {
  const session = await page.context().newCDPSession(page);
  const events = [];
  session.on('Tracing.dataCollected', ({ value }) => events.push(...value));
  await session.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig: { includedCategories: ['disabled-by-default-devtools.timeline'] } });
  await act();
  const complete = new Promise((resolve) => { session.once('Tracing.tracingComplete', resolve); });
  await session.send('Tracing.end');
  await complete;
  const main = events.find((event) => event.name === 'thread_name' && event.args.name === 'CrRendererMain' && events.some((other) => other.name === 'RunTask' && other.pid === event.pid && other.tid === event.tid));
  const tasks = events.filter((event) => event.name === 'RunTask' && event.ph === 'X' && event.pid === main.pid && event.tid === main.tid);
  return tasks.reduce((sum, task) => sum + (task.tdur ?? task.dur), 0) / 1000;
}

// scrolling shows an upload with n images in jobs of a hundred, scrolls through it, and returns the ms of the main thread for each frame and
// the frames in a second.
async function scrolling(browser, base, job, n) {
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 900 } })).newPage();
  await largeUpload(page, job, n / 100);
  await page.goto(`${base}/#/uploads/large`);
  await page.locator('.card').nth(n - 1).waitFor({ state: 'attached' });
  await page.waitForLoadState('networkidle');
  const frames = 180;
  let seconds = 0;
  const busy = await traced(page, async () => {
    seconds = await page.evaluate(async (count) => {
      const start = performance.now();
      const step = Math.max(1, (document.scrollingElement.scrollHeight - innerHeight) / count);
      for (let i = 0; i < count; i++) {
        scrollTo(0, i * step);
        await new Promise(requestAnimationFrame);
      }
      return (performance.now() - start) / 1000;
    }, frames);
  });
  await page.context().close();
  return { ms: busy / frames, perSecond: frames / seconds };
}

async function cards(browser, base) {
  const form = new FormData();
  form.append('image', new Blob([photo()]), 'one.jpg');
  const created = await (await fetch(`${base}/api/v1/batch`, { method: 'POST', body: form })).json();
  await settled(base);
  const job = await (await fetch(`${base}/api/v1/batch/${created.job_id}`)).json();
  return { few: await scrolling(browser, base, job, 100), many: await scrolling(browser, base, job, 1000) };
}

const folder = mkdtempSync(join(tmpdir(), 'imagebatch-bench-console-'));
const port = await freePort();
const base = `http://127.0.0.1:${port}`;
const before = load();
const gateway = spawn(join(root, 'bin/standalone'), { env: { ...process.env, HTTP_ADDR: `127.0.0.1:${port}`, DATA_DIR: join(folder, 'data'), LOG_LEVEL: 'warn' }, stdio: 'inherit' });
let browser;
try {
  await until(async () => (await fetch(`${base}/readyz`)).ok, 'the gateway');
  browser = await launch();
  const paint = await paints(browser, base);
  const scroll = await cards(browser, base);
  const upload = await uploads(browser, base, join(folder, 'photos'));
  const rate = (seconds) => (upload.megabytes / seconds).toFixed(0);
  const text = `Measured on ${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC, commit ${run('git', 'rev-parse', '--short', 'HEAD')}: ${cpus()[0].model}, ${cpus().length} cores, \
${Math.round(totalmem() / 2 ** 30)} GiB; Chromium ${browser.version()} without a GPU; one process, all of them on this machine. Load average before ${before}, after ${load()}.

| | console | compared with | ratio |
|---|--:|--:|--:|
| First contentful paint, nothing cached; median of 21 | ${paint.console.toFixed(0)} ms | ${paint.smallest.toFixed(0)} ms: the two bytes of \`/healthz\` | ${(paint.console / paint.smallest).toFixed(2)} |
| Upload of ${files} photos, ${upload.megabytes.toFixed(0)} MB; median of 3 | ${upload.page.toFixed(1)} s, ${rate(upload.page)} MB/s | ${upload.program.toFixed(1)} s, ${rate(upload.program)} MB/s: Node.js, the same requests | ${(upload.page / upload.program).toFixed(2)} |
| Scrolling through 1,000 images of ten jobs: main thread per frame | ${scroll.many.ms.toFixed(1)} ms | ${scroll.few.ms.toFixed(1)} ms: 100 images | ${(scroll.many.ms / scroll.few.ms).toFixed(2)} |
| The same: frames per second | ${scroll.many.perSecond.toFixed(0)} | ${scroll.few.perSecond.toFixed(0)}: 100 images | ${(scroll.many.perSecond / scroll.few.perSecond).toFixed(2)} |

During the upload, the page's JavaScript heap was ${upload.heap.toFixed(1)} MB at most.

`;
  const [begin, end] = ['<!-- console: begin (written by make bench-console) -->\n\n', '<!-- console: end -->'];
  const page = readFileSync(doc, 'utf8');
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${doc} has no place for the results`);
  writeFileSync(doc, page.slice(0, from + begin.length) + text + page.slice(to));
  console.log(text);
} finally {
  await browser?.close();
  gateway.kill();
  if (gateway.exitCode === null) await once(gateway, 'exit');
  rmSync(folder, { recursive: true, force: true });
}
