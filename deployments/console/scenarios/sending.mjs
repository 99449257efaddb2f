// Sending an upload, on lines, through proxies and to gateways that do not always work. scenarios/new.mjs chooses its images.

import { rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { assert, drop, photo, scenario, tile, until, write } from '../rig.mjs';

const range = (n) => [...Array(n).keys()];
const button = (page, name) => page.getByRole('button', { name });
const rows = (page) => page.getByRole('list', { name: 'Chosen images' }).getByRole('listitem');
const panel = (page) => page.getByRole('region', { name: /^(Sending|Stopping|Stopped)/ });
const facts = (page) => panel(page).locator('.new-facts');
const MB = 1 << 20;

// watchBatches returns the Idempotency-Keys of the batches that the page sends from now on, in order.
function watchBatches(page) {
  const keys = [];
  page.on('request', (request) => {
    if (request.method() === 'POST' && /\/api\/v1\/batch$/.test(request.url())) keys.push(request.headers()['idempotency-key']);
  });
  return keys;
}

// photos writes photos of so many megabytes: {name: MB}. Their holes take no space on the disk.
function photos(folder, sizes) {
  return Object.entries(sizes).map(([name, size], n) => {
    const [path] = write(folder, { [name]: photo(n) });
    if (size > 1) truncateSync(path, Math.floor(size * MB));
    return path;
  });
}

// choose opens the page and drops files on it.
async function choose({ open }, paths, options) {
  const page = await open('#/', options);
  await page.locator('h1').waitFor();
  await drop(page, '.new-drop', paths);
  await button(page, `Send ${paths.length}`).waitFor();
  return page;
}

// uploaded waits until the page shows the upload, all images of which are processed, and returns its jobs.
async function uploaded(page, { api, ended }) {
  await until(() => /#\/uploads\/[\w-]+$/.test(page.url()), 'the screen of the upload');
  const jobs = await jobsOf(api, page.url().split('/').pop());
  await Promise.all(jobs.map((job) => ended(job.job_id)));
  await page.locator('.upload-state', { hasText: 'Completed' }).waitFor();
  return jobsOf(api, page.url().split('/').pop());
}

// jobsOf returns the jobs of an upload, the oldest first.
async function jobsOf(api, id) {
  const { jobs } = await api('GET', `api/v1/batch?upload=${id}&order=oldest&limit=100`);
  return Promise.all(jobs.map((job) => api('GET', `api/v1/batch/${job.job_id}`)));
}

const imagesOf = (jobs) => jobs.map((job) => job.images.map((image) => image.original_filename));

// slowly chooses seven images, sends them on a slow line in pairs, and returns when the second pair is on its way.
async function slowly(rig, options) {
  const paths = photos(rig.folder, { '1.jpg': 0, '2.jpg': 0, '3.jpg': 3, '4.jpg': 3, '5.jpg': 0, '6.jpg': 0, '7.jpg': 0 });
  const page = await choose(rig, paths, options);
  const batches = watchBatches(page);
  await rig.slowUploads(page, MB);
  await button(page, 'Send 7').click();
  await facts(page).filter({ hasText: /^[1-5](\.\d)? of .* · 2 of 7 images sent$/ }).waitFor();
  assert.equal(batches.length, 2);
  return { page, batches, paths };
}

scenario('stopped and continued', { system: 'pairs' }, async (rig) => {
  const { axe, screenshot, slowUploads, api } = rig;
  const { page, batches } = await slowly(rig);
  await axe(page);
  await screenshot(page, 'sending');
  await button(page, 'Stop').click();
  await panel(page).getByRole('heading', { name: 'Stopped' }).waitFor();
  await panel(page).getByText('The 2 sent images stay and are processed: show them.').waitFor();
  await page.getByRole('status').filter({ hasText: 'Stopped. 2 of 7 images sent' }).waitFor({ state: 'attached' });
  await axe(page);
  await screenshot(page, 'sending-stopped');
  await slowUploads(page, 0);
  await button(page, 'Send the other 5').click();
  const jobs = await uploaded(page, rig);
  assert.deepEqual(imagesOf(jobs), [['1.jpg', '2.jpg'], ['3.jpg', '4.jpg'], ['5.jpg', '6.jpg'], ['7.jpg']]);
  assert.equal(batches[2], batches[1], 'the interrupted request has another key');
  assert.equal(new Set(batches).size, 4);
  await screenshot(page, 'sending-end');
});

scenario('stopped and put back into the list', { system: 'pairs' }, async (rig) => {
  const { slowUploads, screenshot, api, ended } = rig;
  const { page } = await slowly(rig);
  await button(page, 'Stop').click();
  const link = panel(page).getByRole('link', { name: 'show them' });
  const first = (await link.getAttribute('href')).split('/').pop();
  await button(page, 'Put them back into the list').click();
  await panel(page).waitFor({ state: 'detached' });
  assert.deepEqual(await page.locator('.new-row .new-name').allTextContents(), ['3.jpg', '4.jpg', '5.jpg', '6.jpg', '7.jpg']);
  await screenshot(page, 'sending-back');
  await button(page, 'Remove 3.jpg').click();
  await button(page, 'Remove 4.jpg').click();
  await page.getByRole('checkbox', { name: '7.jpg' }).uncheck();
  await slowUploads(page, 0);
  await button(page, 'Send 2').click();
  await until(() => /#\/jobs\/[\w-]{36}$/.test(page.url()), 'the job');
  const job = await ended(page.url().split('/').pop());
  assert.deepEqual(imagesOf([job]), [['5.jpg', '6.jpg']]);
  assert.deepEqual(imagesOf(await jobsOf(api, first)), [['1.jpg', '2.jpg']]);
  await page.reload();
  await page.getByRole('link', { name: 'New' }).click();
  await page.locator('.new-drop').waitFor();
  assert.equal(await page.getByText('was interrupted').count(), 0);
});

scenario('stopped while the response is on its way', { system: 'pairs' }, async (rig) => {
  const { folder, control, screenshot, api } = rig;
  const page = await choose(rig, photos(folder, { '1.jpg': 0, '2.jpg': 0, '3.jpg': 0 }));
  const batches = watchBatches(page);
  await control.set({ hold_batches: true });
  await button(page, 'Send 3').click();
  await facts(page).filter({ hasText: /0 of 3 images sent/ }).waitFor();
  await page.getByRole('progressbar', { name: 'Upload' }).and(page.locator('[aria-valuenow="66"]')).waitFor();
  await button(page, 'Stop').click();
  await panel(page).getByText('Waiting for the response to the last request.').waitFor();
  await screenshot(page, 'sending-stopping');
  await control.set({});
  await panel(page).getByText('The 2 sent images stay').waitFor();

  await control.set({ hold_batches: true });
  await button(page, 'Send the other 1').click();
  await page.getByRole('progressbar', { name: 'Upload' }).and(page.locator('[aria-valuenow="100"]')).waitFor();
  await button(page, 'Stop').click();
  await button(page, 'Stop now').click();
  await panel(page).getByText('The 2 sent images stay').waitFor();
  await control.set({});
  await button(page, 'Send the other 1').click();
  const jobs = await uploaded(page, rig);
  assert.deepEqual(imagesOf(jobs), [['1.jpg', '2.jpg'], ['3.jpg']]);
  assert.equal(batches.length, 3);
  assert.equal(batches[1], batches[2]);
});

scenario('a connection that breaks', { system: 'pairs' }, async (rig) => {
  const { control, slowUploads, allow, axe, screenshot } = rig;
  allow(/ERR_/);
  const { page, batches } = await slowly(rig, { dark: true });
  await control.cut();
  await panel(page).getByText(/^The connection broke\./).waitFor();
  await axe(page);
  await screenshot(page, 'sending-broken-dark');
  await slowUploads(page, 0);
  await button(page, 'Try now').click();
  const jobs = await uploaded(page, rig);
  assert.deepEqual(imagesOf(jobs), [['1.jpg', '2.jpg'], ['3.jpg', '4.jpg'], ['5.jpg', '6.jpg'], ['7.jpg']]);
  assert.equal(batches.length, 5);
  assert.equal(batches[1], batches[2], 'the repeated request has another key');
});

// A response that is lost leaves the page in doubt whether the gateway has the images.
for (const asked of [true, false]) {
  scenario(`a response that is lost, while the gateway ${asked ? 'can be asked' : 'does not answer'}`, { system: 'pairs' }, async (rig) => {
    const { folder, control, api, allow } = rig;
    allow(/ERR_/);
    const page = await choose(rig, photos(folder, { '1.jpg': 0, '2.jpg': 0, '3.jpg': 0 }));
    const batches = watchBatches(page);
    await control.set({ hold_batches: true });
    const before = (await api('GET', 'api/v1/batch?limit=1')).jobs[0]?.job_id;
    await button(page, 'Send 3').click();
    await until(async () => (await api('GET', 'api/v1/batch?limit=1')).jobs[0]?.job_id !== before, 'the job');
    await control.set({ offline: !asked });
    if (asked) await control.cut();
    else {
      await panel(page).getByText(/^The connection broke\./).waitFor();
      await control.set({});
    }
    const jobs = await uploaded(page, rig);
    assert.deepEqual(imagesOf(jobs), [['1.jpg', '2.jpg'], ['3.jpg']]);
    assert.deepEqual(batches.map((key) => batches.indexOf(key)), asked ? [0, 1] : [0, 0, 2]);
  });
}
