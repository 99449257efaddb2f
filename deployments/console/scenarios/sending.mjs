// Sending an upload, on lines, through proxies and to gateways that do not always work. scenarios/new.mjs chooses its images.

import { rmSync, truncateSync } from 'node:fs';
import { assert, drop, scenario, tile, until, write } from '../rig.mjs';

const range = (n) => [...Array(n).keys()];
const button = (page, name) => page.getByRole('button', { name });
const rows = (page) => page.getByRole('list', { name: 'Chosen images' }).getByRole('listitem');
const panel = (page) => page.getByRole('region', { name: /^(Sending|Stopping|Stopped)/ });
const facts = (page) => panel(page).locator('.new-facts');
const lost = (page) => page.locator('.note', { hasText: 'could not be sent' });
const MB = 1 << 20;

// watchBatches returns the Idempotency-Keys of the batches that the page sends from now on, in order.
function watchBatches(page) {
  const keys = [];
  page.on('request', (request) => {
    if (request.method() === 'POST' && /\/api\/v1\/batch$/.test(request.url())) keys.push(request.headers()['idempotency-key']);
  });
  return keys;
}

// images writes images of so many megabytes, 0 for small ones: {name: MB}. Their holes take no space on the disk.
function images(folder, sizes) {
  const paths = write(folder, Object.fromEntries(Object.keys(sizes).map((name, n) => [name, tile(n)])));
  Object.values(sizes).forEach((size, n) => size > 0 && truncateSync(paths[n], Math.floor(size * MB)));
  return paths;
}

// headed waits until the heading has the focus, after a button that had it is gone.
const headed = (page) => until(() => page.evaluate(() => document.activeElement.matches('h1')), 'the focus on the heading');

// choose opens the page and drops files on it.
async function choose({ open }, paths, options) {
  const page = await open('#/', options);
  await page.locator('h1').waitFor();
  await drop(page, '.new-drop', paths);
  await button(page, `Send ${paths.length}`).waitFor();
  return page;
}

// uploaded waits until the page shows the upload, and returns its jobs.
async function uploaded(page, { api }) {
  await until(() => /#\/uploads\/[\w-]+$/.test(page.url()), 'the screen of the upload');
  return jobsOf(api, page.url().split('/').pop());
}

// jobsOf returns the jobs of an upload, the oldest first.
async function jobsOf(api, id) {
  const { jobs } = await api('GET', `api/v1/batch?upload=${id}&order=oldest&limit=100`);
  return Promise.all(jobs.map((job) => api('GET', `api/v1/batch/${job.job_id}`)));
}

const imagesOf = (jobs) => jobs.map((job) => job.images.map((image) => image.original_filename));

// watchFacts keeps in the page what the panel says about the progress of the upload.
const watchFacts = (page) => page.evaluate(() => {
  window.seen = [];
  new MutationObserver(() => {
    const text = document.querySelector('.new-sending .new-facts')?.textContent;
    if (text && text !== window.seen.at(-1)) window.seen.push(text);
  }).observe(document.querySelector('main'), { subtree: true, childList: true, characterData: true });
});

scenario('443 MB', { limit: 960 }, async (rig) => {
  const { folder, screenshot } = rig;
  const n = 45;
  const page = await choose(rig, images(folder, Object.fromEntries(range(n).map((i) => [`IMG_${i + 1}.png`, 443 / n]))));
  await watchFacts(page);
  const lengths = [];
  page.on('requestfinished', async (request) => {
    if (request.method() === 'POST') lengths.push(Number((await request.allHeaders())['content-length']));
  });
  const session = await page.context().newCDPSession(page);
  await button(page, `Send ${n}`).click();
  let most = 0; // bytes in the memory of the page
  await until(async () => {
    const { usedSize, backingStorageSize } = await session.send('Runtime.getHeapUsage');
    most = Math.max(most, usedSize + backingStorageSize);
    return /#\/uploads\//.test(page.url());
  }, 'the end of the upload', 600);
  await page.locator('.upload-state', { hasText: 'Completed' }).waitFor({ timeout: 300_000 }); // 45 images of 10 MB are processed
  const jobs = await uploaded(page, rig);
  assert.ok(most < 30 * MB, `the page has ${most} bytes in memory`);
  assert.equal(lengths.length, 9);
  assert.ok(lengths.every((length) => length > 45 * MB && length <= 50 * MB), `the requests have ${lengths} bytes`);
  assert.deepEqual(imagesOf(jobs).map((images) => images.length), Array(9).fill(5));
  assert.deepEqual(imagesOf(jobs).flat(), range(n).map((i) => `IMG_${i + 1}.png`));
  const seen = await page.evaluate(() => window.seen);
  const sent = seen.map((text) => /^(\d+(?:\.\d)?) of 443 MB(?: · [^·]+ left)? · (\d+) of 45 images sent$/.exec(text)?.slice(1).map(Number) ?? assert.fail(text));
  for (let i = 1; i < sent.length; i++) assert.ok(sent[i][0] >= sent[i - 1][0] && sent[i][1] >= sent[i - 1][1], `the progress goes back from ${seen[i - 1]} to ${seen[i]}`);
  assert.ok(new Set(sent.map(([mb]) => mb)).size > 9, `the progress has only a step for each request: ${seen}`);
  assert.ok(seen.some((text) => text.includes(' left')), `the page never says how long it takes: ${seen}`);
  assert.equal(await page.getByRole('progressbar').count(), 1);
  await screenshot(page, 'sending-443-end');
  rmSync(folder, { recursive: true });
});

// slowly chooses seven images, sends them on a slow line in pairs, and returns when the second pair is on its way.
async function slowly(rig, options) {
  const paths = images(rig.folder, { '1.png': 0, '2.png': 0, '3.png': 3, '4.png': 3, '5.png': 0, '6.png': 0, '7.png': 0 });
  const page = await choose(rig, paths, options);
  const batches = watchBatches(page);
  await rig.slowUploads(page, MB / 6); // The second pair stays on its way for 36 s.
  await button(page, 'Send 7').click();
  await facts(page).filter({ hasText: /^[1-5](\.\d)? of .* · 2 of 7 images sent$/ }).waitFor();
  assert.equal(batches.length, 2);
  return { page, batches, paths };
}

scenario('stopped and continued', { system: 'pairs' }, async (rig) => {
  const { axe, screenshot, slowUploads } = rig;
  const { page, batches } = await slowly(rig);
  await axe(page);
  await screenshot(page, 'sending');
  await button(page, 'Stop').click();
  await panel(page).getByRole('heading', { name: 'Stopped' }).waitFor();
  await panel(page).getByText('The 2 sent images stay and are processed: show them.').waitFor();
  await headed(page);
  await page.getByRole('status').filter({ hasText: 'Stopped. 2 of 7 images sent' }).waitFor({ state: 'attached' });
  await axe(page);
  await screenshot(page, 'sending-stopped');
  await slowUploads(page, 0);
  await button(page, 'Send the other 5').click();
  const jobs = await uploaded(page, rig);
  assert.deepEqual(imagesOf(jobs), [['1.png', '2.png'], ['3.png', '4.png'], ['5.png', '6.png'], ['7.png']]);
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
  await headed(page);
  assert.deepEqual(await page.locator('.new-row .new-name').allTextContents(), ['3.png', '4.png', '5.png', '6.png', '7.png']);
  await screenshot(page, 'sending-back');
  await button(page, 'Remove 3.png').click();
  await button(page, 'Remove 4.png').click();
  await page.getByRole('checkbox', { name: '7.png' }).uncheck();
  await slowUploads(page, 0);
  await button(page, 'Send 2').click();
  await until(() => /#\/jobs\/[\w-]{36}$/.test(page.url()), 'the job');
  const job = await ended(page.url().split('/').pop());
  assert.deepEqual(imagesOf([job]), [['5.png', '6.png']]);
  assert.deepEqual(imagesOf(await jobsOf(api, first)), [['1.png', '2.png']]);
  await page.reload();
  await page.getByRole('link', { name: 'New' }).click();
  await page.locator('.new-drop').waitFor();
  assert.equal(await page.getByText('was interrupted').count(), 0);
});

scenario('stopped while the response is on its way', { system: 'pairs' }, async (rig) => {
  const { folder, control, screenshot } = rig;
  const page = await choose(rig, images(folder, { '1.png': 0.1, '2.png': 0.1, '3.png': 0.1 }));
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
  await button(page, 'Send the other one').click();
  await page.getByRole('progressbar', { name: 'Upload' }).and(page.locator('[aria-valuenow="100"]')).waitFor();
  await button(page, 'Stop').click();
  await button(page, 'Stop now').click();
  await panel(page).getByText('The 2 sent images stay').waitFor();
  await control.set({});
  await button(page, 'Send the other one').click();
  const jobs = await uploaded(page, rig);
  assert.deepEqual(imagesOf(jobs), [['1.png', '2.png'], ['3.png']]);
  assert.equal(batches.length, 3);
  assert.equal(batches[1], batches[2]);
});

// What can go wrong in the middle of a request: how the scenario breaks and mends it, and what the page says meanwhile.
const breaks = {
  'a connection that breaks': ['The connection broke.', ({ control }) => control.set({ offline: true }), ({ control }) => control.set({})],
  'a gateway that restarts': ['The connection broke.', ({ control }) => control.kill(), ({ control }) => control.start()],
  'a proxy that does not reach the gateway': ['A proxy does not reach the gateway.', async ({ control }) => {
    await control.set({ bad_gateway: true });
    await control.cut(); // Chromium itself repeats a request whose connection was only cut.
  }, ({ control }) => control.set({})],
};

for (const [name, [text, fail, mend]] of Object.entries(breaks)) {
  scenario(name, { system: 'pairs' }, async (rig) => {
    const { slowUploads, allow, axe, screenshot, noSidewaysScroll } = rig;
    allow(/ERR_/, /status of 502/);
    const { page, batches } = await slowly(rig, { dark: true, width: 390, height: 844 });
    await noSidewaysScroll(page);
    if (name.includes('connection')) await axe(page);
    await screenshot(page, 'sending-390-dark');
    await fail(rig);
    await panel(page).getByText(`${text} The upload continues when the gateway answers again.`).waitFor();
    await facts(page).filter({ hasText: /^[\d.]+ kB of 6 MB · 2 of 7 images sent$/ }).waitFor();
    assert.match(await page.title(), /^Waiting · /);
    await noSidewaysScroll(page);
    if (name.includes('proxy')) await axe(page);
    await screenshot(page, `sending-${name.replaceAll(' ', '-')}`);
    await slowUploads(page, 0);
    await mend(rig);
    const jobs = await uploaded(page, rig);
    assert.deepEqual(imagesOf(jobs), [['1.png', '2.png'], ['3.png', '4.png'], ['5.png', '6.png'], ['7.png']]);
    assert.equal(new Set(batches).size, 4, 'a request was repeated with another key');
    assert.equal(batches.filter((key) => key === batches[1]).length, batches.length - 3, 'another request than the broken one was repeated');
  });
}

// A response that is lost leaves the page in doubt whether the gateway has the images.
for (const asked of [true, false]) {
  scenario(`a response that is lost, while the gateway ${asked ? 'can be asked' : 'does not answer'}`, { system: 'pairs' }, async (rig) => {
    const { folder, control, api, allow } = rig;
    allow(/ERR_/);
    const page = await choose(rig, images(folder, { '1.png': 0, '2.png': 0, '3.png': 0 }));
    const batches = watchBatches(page);
    await control.set(asked ? { lose_batches: true } : { hold_batches: true });
    const before = await newest(api);
    await button(page, 'Send 3').click();
    await until(async () => (await newest(api)) !== before, 'the job');
    if (!asked) {
      await control.set({ offline: true });
      await panel(page).getByText(/^The connection broke\./).waitFor();
      await control.set({});
    }
    const jobs = await uploaded(page, rig);
    assert.deepEqual(imagesOf(jobs), [['1.png', '2.png'], ['3.png']]);
    assert.deepEqual(batches.map((key) => batches.indexOf(key)), asked ? [0, 1] : [0, 0, 2]);
  });
}

scenario('a proxy that accepts only small requests', { system: 'open' }, async (rig) => {
  const { folder, control, allow, axe, screenshot } = rig;
  allow(/status of 413/);
  const sizes = Object.fromEntries(range(8).map((i) => [`${i}.png`, 0.5]));
  const page = await choose(rig, images(folder, { ...sizes, 'large.png': 2 }));
  const refused = [];
  page.on('response', (response) => { if (response.status() === 413) refused.push(response.request().headers()['idempotency-key']); });
  await control.set({ max_body: MB });
  await button(page, 'Send 9').click();
  await panel(page).getByText(/^A proxy in front of the gateway accepts only smaller requests: the rest is sent in requests of at most \d+ kB\.$/).waitFor();
  await screenshot(page, 'sending-halved');
  const jobs = await uploaded(page, rig);
  assert.deepEqual(imagesOf(jobs).flat(), Object.keys(sizes));
  await lost(page).filter({ hasText: '1 image could not be sent' }).waitFor();
  await page.getByText('large.png: larger than a proxy in front of the gateway accepts; its limit must be raised.').waitFor();
  assert.equal(new Set(refused).size, refused.length, 'a request that was refused is repeated as it was');
  assert.ok(refused.length <= 4, `${refused.length} requests were refused`);
  await axe(page);
  await screenshot(page, 'sending-lost');
});

// reload loads the page again, after the browser has asked whether the upload may end.
async function reload(page, { allow }) {
  allow(/a dialog \(beforeunload\)/);
  const [question] = await Promise.all([page.waitForEvent('dialog'), page.reload()]);
  assert.equal(question.type(), 'beforeunload');
}

async function chooseAgain(page, paths) {
  const [chooser] = await Promise.all([page.waitForEvent('filechooser'), button(page, 'Choose again').click()]);
  await chooser.setFiles(paths);
}

scenario('a page that is reloaded', { system: 'pairs' }, async (rig) => {
  const { axe, screenshot, noSidewaysScroll } = rig;
  const { page, batches, paths } = await slowly(rig);
  await reload(page, rig);
  await rig.slowUploads(page, 0);
  const note = page.locator('.note', { hasText: 'An upload was interrupted: 1.png and 6 more' });
  await note.getByText('2 of 7 images arrived (show them). Choose these 5 files again to send the rest.').waitFor();
  await axe(page);
  await screenshot(page, 'sending-interrupted');

  write(rig.folder, { '4.png': tile(44) });
  await chooseAgain(page, [paths[6], paths[2]]);
  await note.getByText('Choose these 3 files again').waitFor();
  await button(note, 'Send the 2 without the others').waitFor();
  await note.getByText('Show the 3 files').click();
  assert.deepEqual(await note.getByRole('listitem').allTextContents(), ['4.png', '5.png', '6.png']);
  await drop(page, '.new-drop', [paths[5], paths[3], paths[0], paths[4]]); // 1.png has arrived
  await note.getByText('Choose 4.png again to send the rest.').waitFor();
  await note.getByText('4.png has changed since then, so it does not belong to this upload. The new version is in the list below.').waitFor();
  await rows(page).filter({ hasText: '4.png' }).waitFor();
  assert.deepEqual(await rows(page).locator('.new-name').allTextContents(), ['1.png', '4.png']);
  await page.setViewportSize({ width: 390, height: 844 });
  await page.emulateMedia({ colorScheme: 'dark' });
  await noSidewaysScroll(page);
  await axe(page);
  await screenshot(page, 'sending-interrupted-390-dark', { fullPage: true });

  await button(note, 'Send the 4 without it').click();
  const jobs = await uploaded(page, rig);
  assert.deepEqual(imagesOf(jobs), [['1.png', '2.png'], ['3.png'], ['5.png', '6.png'], ['7.png']]);
  assert.deepEqual([batches.length, batches[2]], [5, batches[1]]);
  await page.getByText('4.png: not chosen again.').waitFor();
  await noSidewaysScroll(page);
  await screenshot(page, 'sending-interrupted-end');
});

for (const again of [true, false]) {
  scenario(`a request that has other images than before is ${again ? '' : 'not '}sent as a new batch`, { system: 'pairs' }, async (rig) => {
    const { folder, control, api, allow, axe, screenshot } = rig;
    allow(/ERR_/, /status of 422/);
    const paths = images(folder, { '1.png': 0, '2.png': 0 });
    const page = await choose(rig, paths);
    await control.set({ hold_batches: true });
    const before = await newest(api);
    await button(page, 'Send 2').click();
    const first = await until(async () => (await newest(api)) !== before && newest(api), 'the job');
    const questions = /\/batch\?upload=/;
    await page.route(questions, (route) => route.abort()); // the page does not learn that the gateway has the images
    await reload(page, rig);
    await control.set({});
    await page.getByText('No image has arrived. Choose these 2 files again').waitFor();
    write(folder, { '2.png': tile(22) });
    await chooseAgain(page, paths);
    await page.getByText('2.png has changed since then').waitFor();
    await page.unroute(questions);
    await button(page, 'Send the 1 without it').click();
    const dialog = page.getByRole('dialog', { name: 'Send these images as a new batch?' });
    await dialog.getByText(`The gateway already received job ${first.slice(0, 8)} with 2 images from an earlier try, but the files were not the same.`).waitFor();
    await axe(page);
    await screenshot(page, 'sending-422');
    await button(dialog, again ? 'Send as a new batch' : 'Cancel').click();
    if (again) assert.deepEqual(imagesOf(await uploaded(page, rig)), [['1.png', '2.png'], ['1.png']]);
    else await until(() => page.url().endsWith(`#/jobs/${first}`), 'the job that exists');
    assert.equal(await lost(page).count(), again ? 1 : 0);
  });
}

// newest returns the ID of the newest job.
async function newest(api) {
  return (await api('GET', 'api/v1/batch?limit=1&view=summary')).jobs[0]?.job_id ?? '';
}

scenario('images that were sent before', { system: 'pairs' }, async (rig) => {
  const { folder, axe, screenshot, ended } = rig;
  const paths = images(folder, { '1.png': 0, '2.png': 0, '3.png': 0 });
  const page = await choose(rig, paths.slice(0, 2));
  await button(page, 'Send 2').click();
  await until(() => /#\/jobs\/./.test(page.url()), 'the job');
  await page.goto(page.url().replace(/#.*/, '#/'));
  await page.reload();
  await page.locator('h1').waitFor();
  await drop(page, '.new-drop', paths);
  await page.getByText('1 of 3 selected').waitFor();
  assert.deepEqual(await rows(page).locator('.badge').allTextContents(), ['⚠ already sent just now', '⚠ already sent just now']);
  await axe(page);
  await screenshot(page, 'sending-before');
  await page.getByRole('checkbox', { name: '1.png' }).check();
  await button(page, 'Send 2').click();
  await until(() => /#\/jobs\/./.test(page.url()), 'the second job');
  assert.deepEqual(imagesOf([await ended(page.url().split('/').pop())]), [['1.png', '3.png']]);
});

scenario('what a model gets', { system: 'captions' }, async (rig) => {
  const { folder, control, axe, screenshot, api, ended } = rig;
  const page = await choose(rig, images(folder, { '1.png': 0, '2.png': 0 }));
  const { captions: { model, host } } = await api('GET', 'api/v1/limits');
  await page.getByText(`Up to 2 images, 768 px, no EXIF or GPS, go to ${model} at ${host}, about 2,100 tokens.`).waitFor();
  await axe(page);
  await screenshot(page, 'sending-captions');
  await page.getByLabel('Describe the images with a model').uncheck();
  await page.getByText(`${model} at ${host} gets none of these images.`).waitFor();
  const send = async (n) => {
    await button(page, `Send ${n}`).click();
    await until(() => /#\/jobs\/./.test(page.url()), 'the job');
    const id = page.url().split('/').pop();
    await ended(id);
    return (await api('GET', `api/v1/batch/${id}/images/0/metadata`)).caption;
  };
  const { pictures } = await control.model();
  assert.equal(await send(2), undefined);
  assert.equal((await control.model()).pictures, pictures);

  await page.getByRole('link', { name: 'New' }).click();
  await drop(page, '.new-drop', images(folder, { 'a/3.png': 0 }));
  const box = page.getByLabel('Describe the images with a model');
  assert.equal(await box.isChecked(), false, 'the page forgets the choice');
  await box.check();
  assert.notEqual(await send(1), undefined);
  assert.equal((await control.model()).pictures, pictures + 1);
});

scenario('a key that is refused in the middle', { system: 'keys' }, async (rig) => {
  const { open, folder, key, operatorKey, allow, axe, screenshot } = rig;
  allow(/status of 401/);
  const paths = images(folder, { '1.png': 0, '2.png': 0, '3.png': 0 });
  const page = await open('docs');
  await page.route('**/api/v1/limits', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), max_images: 1 } });
  });
  await page.evaluate(([name, value]) => sessionStorage.setItem(name, JSON.stringify(value)), ['imagebatch.key', key]);
  await page.goto(new URL('#/', rig.url).href);
  await page.locator('h1').waitFor();
  await drop(page, '.new-drop', paths);
  let sent = 0;
  await page.route(/\/api\/v1\/batch$/, (route) => {
    const old = route.request().method() === 'POST' && route.request().headers().authorization === `Bearer ${key}`;
    return old && ++sent > 1 ? route.fulfill({ status: 401, json: { error: 'API key unknown', status: 401 } }) : route.continue();
  });
  await button(page, 'Send 3').click();
  const dialog = page.getByRole('dialog', { name: 'API key' });
  await dialog.getByText('The gateway does not know this API key.').waitFor();
  await dialog.press('Escape');
  await panel(page).getByText('The upload has stopped: API key unknown').waitFor();
  await panel(page).getByText('The sent image stays and is processed: show it.').waitFor();
  await axe(page);
  await screenshot(page, 'sending-refused-key');
  await button(panel(page), 'Enter API key').click();
  await dialog.getByRole('textbox', { name: 'API key' }).fill(operatorKey);
  await dialog.getByRole('button', { name: 'Use key' }).click();
  const jobs = await uploaded(page, { api: (method, path) => rig.api(method, path, undefined, { key: operatorKey }) });
  assert.deepEqual(imagesOf(jobs), [['1.png'], ['2.png'], ['3.png']]);
});
