// The screen of a job.

import { crc32 } from 'node:zlib';
import { withOrigin } from '../origin.mjs';
import { assert, photo, scenario, tile, until } from '../rig.mjs';

const screen = (id, rest = '') => `#/jobs/${id}${rest}`;
const card = (page, name) => page.getByRole('listitem').filter({ has: page.getByText(name, { exact: true }) });
const badge = (page) => page.locator('h1 .badge');
const button = (page, name) => page.getByRole('button', { name });
const filter = (page, name) => page.getByRole('navigation', { name: 'Images' }).getByRole('link', { name });

const range = (n) => [...Array(n).keys()];
const photos = (n) => range(n).map((i) => ({ name: `IMG_${1000 + i}.jpg`, data: photo(i) }));
const damaged = { name: 'cut.jpg', data: photo(99).subarray(0, 20_000) };
const text = { name: 'notes.txt', data: Buffer.from('no picture') };

// remote returns images that arrive when the origin releases them.
const remote = (origin, n) => range(n).map((i) => ({ url: origin.url(i) }));

// loaded waits until the thumbnail of a card is shown.
const loaded = (page, name) => until(() => card(page, name).locator('img').evaluate((img) => img.complete && img.naturalWidth > 0), `the thumbnail of ${name}`);

// messages records what a screen reader hears, with the time of each message.
async function messages(page) {
  await page.evaluate(() => {
    window.heard = [];
    const region = document.querySelector('[role="status"]');
    new MutationObserver(() => window.heard.push({ text: region.textContent, time: performance.now() })).observe(region, { childList: true, characterData: true, subtree: true });
  });
  return () => page.evaluate(() => window.heard);
}

scenario('12 images arrive live', async ({ open, submit, axe, screenshot }) => withOrigin(async (origin) => {
  const id = await submit(remote(origin, 12), { metadata: { label: 'Holiday', upload: 'drop-1', camera: 'X100' } });
  const page = await open(screen(id));
  const heard = await messages(page);
  await page.getByText('Live', { exact: true }).waitFor();
  assert.match(await page.title(), /^0\/12 · Job /);
  await page.getByText('Holiday').waitFor();
  await page.getByText('camera: X100').waitFor();
  assert.equal(await page.getByRole('link', { name: 'part of an upload' }).getAttribute('href'), '#/uploads/drop-1');
  await page.getByText('Downloads and retries are here when the job has ended.').waitFor();
  assert.equal(await button(page, 'ZIP').count(), 0);
  assert.equal(await page.getByRole('checkbox').count(), 0);

  for (const i of range(7)) await origin.release(i, photo(i));
  await page.getByText('7 done, 5 open').waitFor();
  await loaded(page, 'image6.jpg');
  assert.match(await page.title(), /^7\/12 · Job /);
  assert.equal(await page.getByRole('progressbar').getAttribute('aria-valuetext'), '7 done, 5 open');
  await axe(page);
  await screenshot(page, 'job-live');
  await origin.release(7, 404);
  await page.getByText('7 done, 4 open, 1 failed').waitFor();
  await card(page, 'image7.jpg').getByText('Check that the link opens without a login.').waitFor();
  for (const i of range(12).slice(8)) await origin.release(i, photo(i));
  await badge(page).getByText('Completed, 1 failed').waitFor();
  await page.getByText('11 done, 1 failed').waitFor();
  assert.match(await page.title(), /^Completed, 1 failed · Job /);
  await button(page, 'ZIP').waitFor();
  await page.getByRole('status').filter({ hasText: 'Job completed, 1 failed' }).waitFor({ state: 'attached' });
  // A busy page shows a message later, so two may be closer to each other than they were sent.
  const times = (await heard()).map(({ time }) => time);
  const most = 2 + (times.at(-1) - times[0]) / 2000;
  assert.ok(times.length <= most, `${times.length} messages at ${times} ms, want at most one in 2 s`);
}));

scenario('an update changes only its card', async ({ open, submit }) => withOrigin(async (origin) => {
  const page = await open(screen(await submit([...remote(origin, 3), ...photos(3)])));
  await page.getByText('3 done, 3 open').waitFor();
  for (const i of range(3)) await card(page, `image${i}.jpg`).getByText('processing').waitFor();
  for (const i of range(3)) await loaded(page, `IMG_${1000 + i}.jpg`);
  await page.evaluate(() => {
    window.changed = new Map();
    new MutationObserver((records) => {
      for (const { target } of records) {
        const element = target.nodeType === Node.ELEMENT_NODE ? target : target.parentElement;
        const name = element.closest('[role="listitem"]')?.querySelector('.card-name').textContent ?? element.className;
        window.changed.set(name, (window.changed.get(name) ?? 0) + 1);
      }
    }).observe(document.querySelector('[role="list"].grid'), { subtree: true, childList: true, attributes: true, characterData: true });
  });
  await origin.release(2, photo(2));
  await card(page, 'image2.jpg').getByText('completed').waitFor();
  await loaded(page, 'image2.jpg');
  await page.getByText('4 done, 2 open').waitFor();
  const changed = await page.evaluate(() => [...window.changed]);
  assert.deepEqual(changed.map(([name]) => name), ['image2.jpg']);
  assert.ok(changed[0][1] <= 12, `${changed[0][1]} changes of one card`);
}));

scenario('a cancelled job keeps what is done', async ({ open, submit, axe }) => withOrigin(async (origin) => {
  const id = await submit(remote(origin, 4));
  const page = await open(screen(id));
  await origin.release(0, photo());
  await page.getByText('1 done, 3 open').waitFor();
  await button(page, 'Cancel the job…').click();
  const dialog = page.getByRole('dialog', { name: 'Cancel this job?' });
  await dialog.getByText('The 1 finished image').waitFor();
  await axe(page);
  await button(dialog, 'Let it run').click();
  await dialog.waitFor({ state: 'detached' });
  assert.match(await page.title(), /^1\/4 /);
  await button(page, 'Cancel the job…').click();
  await button(dialog, 'Cancel the job').click();
  await badge(page).getByText('Cancelled').waitFor();
  await page.getByText('1 done, 3 cancelled').waitFor();
  await filter(page, 'Cancelled 3').click();
  assert.equal(await page.locator('.card').filter({ hasText: 'cancelled' }).count(), 3);
  await button(page, 'Retry 3 cancelled').waitFor();
  await page.getByRole('status').filter({ hasText: 'Job cancelled' }).waitFor({ state: 'attached' });
}));

scenario('retrying failed images leads to the new job', async ({ open, submit, ended }) => withOrigin(async (origin) => {
  const id = await submit(remote(origin, 3));
  await Promise.all([origin.release(0, photo()), origin.release(1, 404), origin.release(2, 404)]);
  await ended(id);
  const page = await open(screen(id));
  await button(page, 'Retry 2 failed').click();
  await page.getByText('This is a new job. It retries 2 images of an earlier job.').waitFor();
  const next = page.url().split('/').pop();
  assert.notEqual(next, id);
  await until(() => page.evaluate(() => document.activeElement.matches('h1')), 'the focus on the heading of the new job');
  await page.getByRole('status').filter({ hasText: 'New job. It retries 2 images' }).waitFor({ state: 'attached' });
  await Promise.all([origin.release(1, photo(1)), origin.release(2, photo(2))]);
  await badge(page).getByText('Completed').waitFor();
  await page.getByRole('link', { name: id.slice(0, 8) }).click();
  await badge(page).getByText('Completed, 2 failed').waitFor();
  await page.getByText('processed again as').getByText('completed').waitFor();
  await page.getByRole('link', { name: next.slice(0, 8) }).click();
  await until(() => page.url().endsWith(next));
}));

scenario('failures have reasons, and the filter survives a reload', async ({ open, submit, ended, axe, allow, screenshot }) => {
  allow(/status of 400/);
  const id = await submit([...photos(2), damaged, text]);
  await ended(id);
  const page = await open(screen(id));
  await badge(page).getByText('Completed, 2 failed').waitFor();
  const color = await badge(page).evaluate((element) => element.className);
  assert.match(color, /tone-warn/);
  await card(page, 'cut.jpg').getByText('Copy it again from the camera or a backup').waitFor();
  await card(page, 'notes.txt').getByText('export that as JPEG or PNG').waitFor();
  await page.getByText('A retry would fail again').waitFor();
  assert.equal(await button(page, 'Retry').count(), 0);
  await screenshot(page, 'job-failures');

  await filter(page, 'Failed 2').click();
  await until(async () => await page.locator('.card').count() === 2, 'two cards');
  await page.reload();
  await card(page, 'cut.jpg').waitFor();
  assert.match(page.url(), /\?show=failed$/);
  assert.equal(await page.locator('.card').count(), 2);
  assert.equal(await filter(page, 'Failed 2').getAttribute('aria-current'), 'true');

  await button(page, 'Select failed').click();
  await page.getByText('2 images selected').waitFor();
  await axe(page);
  await page.getByRole('region', { name: 'Selection' }).getByRole('button', { name: 'Reprocess…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Process again' });
  assert.ok(await dialog.getByLabel('The 2 selected images').isChecked());
  await axe(page);
  await button(dialog, 'Process 2 images').click();
  await dialog.getByText('The gateway has no file of these images. Send them again.').waitFor();
  await dialog.getByLabel('All 4 images').check();
  await button(dialog, 'Process 4 images').click();
  await page.getByText('2 images were left out, because the gateway has no file of them: send them again.').waitFor();
  await badge(page).getByText(/Completed$/).waitFor();
});

scenario('the gateway is killed in the middle', async ({ open, submit, control, allow }) => withOrigin(async (origin) => {
  allow(/net::ERR_|WebSocket connection/);
  const id = await submit(remote(origin, 3));
  const page = await open(screen(id));
  await origin.release(0, photo());
  await page.getByText('1 done, 2 open').waitFor();
  await control.kill();
  await page.getByText('No connection: the last known state').waitFor();
  await page.getByText('1 done, 2 open').waitFor();
  await control.start();
  await page.getByText('Live', { exact: true }).waitFor();
  await Promise.all([origin.release(1, photo(1)), origin.release(2, photo(2))]);
  await badge(page).getByText('Completed').waitFor();
  await loaded(page, 'image2.jpg');
}));

scenario('another gateway continues', { system: 'gateways' }, async ({ open, submit, control, allow }) => withOrigin(async (origin) => {
  allow(/net::ERR_|WebSocket connection/);
  const id = await submit(remote(origin, 3));
  const page = await open(screen(id));
  await page.getByText('Live', { exact: true }).waitFor();
  await origin.release(0, photo());
  await page.getByText('1 done, 2 open').waitFor();
  await control.set({ gateway: 1 });
  await control.cut();
  await origin.release(1, photo(1));
  await page.getByText('2 done, 1 open').waitFor();
  await page.getByText('Live', { exact: true }).waitFor();
  await origin.release(2, photo(2));
  await badge(page).getByText('Completed').waitFor();
  await loaded(page, 'image2.jpg');
}));

scenario('without WebSockets, and without events', async ({ open, submit, control, allow }) => withOrigin(async (origin) => {
  allow(/status of 403|WebSocket connection|net::ERR_/);
  await control.set({ no_websockets: true });
  const page = await open(screen(await submit(remote(origin, 3))));
  await page.getByText('Live, by events').waitFor();
  await origin.release(0, photo());
  await page.getByText('1 done, 2 open').waitFor();
  await control.set({ no_websockets: true, no_events: true });
  await control.cut();
  await page.getByText('Updated every 3 s').waitFor();
  await Promise.all([origin.release(1, photo(1)), origin.release(2, photo(2))]);
  await badge(page).getByText('Completed').waitFor();
  await loaded(page, 'image2.jpg');
}));

scenario('offline and back', async ({ open, submit, offline, allow, axe }) => withOrigin(async (origin) => {
  allow(/net::ERR_|WebSocket connection/);
  const page = await open(screen(await submit(remote(origin, 2))));
  await page.getByText('Live', { exact: true }).waitFor();
  await offline(page);
  await page.getByText('No connection: the last known state').waitFor();
  await page.getByText('2 open', { exact: true }).waitFor();
  await axe(page);
  await Promise.all([origin.release(0, photo()), origin.release(1, photo(1))]);
  await offline(page, false);
  await badge(page).getByText('Completed').waitFor();
  await loaded(page, 'image1.jpg');
}));

scenario('a job that is not there, or was deleted', { system: 'brief' }, async ({ open, submit, ended, api, allow, axe }) => {
  allow(/status of 404/);
  const page = await open(screen('11111111-1111-4111-8111-111111111111'));
  await page.getByText('There is no such job.').waitFor();
  await axe(page);
  const id = await submit(photos(1));
  await ended(id);
  await page.evaluate((hash) => { location.hash = hash; }, screen(id));
  await badge(page).getByText('Completed').waitFor();
  await until(() => api('GET', `api/v1/batch/${id}`, undefined, { status: 404 }).then(() => true), 'the deletion of the job');
  await button(page, 'Reprocess…').click();
  await button(page, 'Process 1 image').click();
  await page.getByRole('dialog').getByText('The new job could not be made').waitFor();
  await page.getByRole('dialog').getByText('It was deleted, belongs to another API key').waitFor();
  await page.reload();
  await page.getByText('There is no such job.').waitFor();
});

scenario('the job of another key', { system: 'keys' }, async ({ open, submit, ended, key, operatorKey, allow }) => {
  allow(/status of 40[14]/);
  const id = await submit(photos(2));
  await ended(id);
  const page = await open(screen(id), { key });
  await loaded(page, 'IMG_1001.jpg'); // fetched with the key
  assert.match(await card(page, 'IMG_1000.jpg').locator('img').getAttribute('src'), /^blob:/);
  const foreign = await submit(photos(1), { key: operatorKey });
  await page.evaluate((hash) => { location.hash = hash; }, screen(foreign));
  await page.getByText('There is no such job.').waitFor();
});

// titled returns a PNG with an XMP packet that has a title and an alternative text.
function titled(words) {
  const png = tile(5, { width: 120, height: 90 });
  const escaped = words.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  const alt = (name) => `<${name}><rdf:Alt><rdf:li xml:lang="x-default">${escaped}</rdf:li></rdf:Alt></${name}>`;
  const packet = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    + `xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/">${alt('dc:title')}${alt('Iptc4xmpCore:AltTextAccessibility')}</rdf:Description></rdf:RDF></x:xmpmeta>`;
  const body = Buffer.from(`iTXtXML:com.adobe.xmp\0\0\0\0\0${packet}`);
  const chunk = Buffer.alloc(body.length + 8);
  chunk.writeUInt32BE(body.length - 4, 0);
  body.copy(chunk, 4);
  chunk.writeUInt32BE(crc32(body), body.length + 4);
  return Buffer.concat([png.subarray(0, 33), chunk, png.subarray(33)]); // after IHDR
}

scenario('hostile names and titles are texts', async ({ open, submit, ended, axe, noSidewaysScroll }) => {
  const hostile = '"><img src=http://example.com/x onerror=alert(1)><script>alert(2)</script>';
  const backwards = 'صورة.png';
  const id = await submit([
    { name: `${hostile}.png`, data: titled(hostile), custom_id: `${hostile}/1` }, { name: backwards, data: tile(6) }, { name: `${hostile}.txt`, data: Buffer.from(hostile) },
    { name: `${'long'.repeat(60)}.png`, data: tile(7), custom_id: 'a\u202Eb' },
  ], { metadata: { label: hostile, [hostile]: hostile } });
  await ended(id);
  const page = await open(screen(id), { width: 390, height: 844 });
  await page.getByText(`${hostile}.png`, { exact: true }).waitFor();
  await until(() => page.locator('.card img').first().evaluate((img, want) => img.alt === want && img.naturalWidth > 0, hostile), 'the alternative text');
  assert.equal(await page.locator('main script, main img[src*="example.com"], main [onerror]').count(), 0);
  const beside = card(page, backwards).locator('.card-name');
  assert.equal(await beside.evaluate((element) => element.tagName), 'BDI');
  assert.equal(await page.getByText(hostile, { exact: true }).count(), 3); // the label, and a name and a value of the metadata
  await axe(page);
  await noSidewaysScroll(page);
});

// focused returns the name of the card that has the focus.
const focused = (page) => page.evaluate(() => document.activeElement.closest('.card')?.querySelector('.card-name').textContent ?? '');

scenario('with the keyboard only', async ({ open, submit, ended }) => {
  const id = await submit([...range(30)].map((i) => ({ name: `tile${i}.png`, data: tile(i) })));
  await ended(id);
  const page = await open(screen(id), { width: 700, height: 500 });
  await page.locator('.card').nth(29).waitFor();
  for (let tabs = 0; !(await focused(page)); tabs++) {
    assert.ok(tabs < 25, 'no card has the focus after 25 tabs');
    await page.keyboard.press('Tab');
  }
  assert.equal(await focused(page), 'tile0.png');
  const columns = await page.locator('.cards').evaluate((grid) => getComputedStyle(grid).gridTemplateColumns.split(' ').length);
  for (const [key, want] of [['ArrowRight', 1], ['ArrowDown', 1 + columns], ['ArrowLeft', columns], ['ArrowUp', 0], ['End', 29], ['Home', 0], ['ArrowRight', 1]]) {
    await page.keyboard.press(key);
    assert.equal(await focused(page), `tile${want}.png`, key);
  }
  await page.keyboard.press('Space');
  await page.keyboard.press('Shift+ArrowDown');
  await page.keyboard.press('Shift+Space'); // everything between
  await page.getByText(`${columns + 1} images selected`).waitFor();
  await page.keyboard.press('Tab'); // the box of the same card
  assert.ok(await page.evaluate(() => document.activeElement.matches('input:checked')));
  await page.keyboard.press('Space');
  await page.getByText(`${columns} images selected`).waitFor();
  await page.keyboard.press('Tab');
  assert.equal(await focused(page), ''); // one card is in the order of the tabs
  await page.keyboard.press('Shift+Tab');
  await page.keyboard.press('Escape');
  await page.getByText('selected').waitFor({ state: 'detached' });

  await page.keyboard.press('End');
  await page.keyboard.press('ArrowLeft');
  const scroll = await page.evaluate(() => scrollY);
  assert.ok(scroll > 0);
  await page.keyboard.press('Enter');
  await until(() => page.url().endsWith('/28'), 'the viewer');
  await page.locator('.card').first().waitFor({ state: 'detached' });
  await page.goBack();
  await until(async () => await focused(page) === 'tile28.png', 'the focus on the card that was open');
  assert.ok(Math.abs(await page.evaluate(() => scrollY) - scroll) < 2);
});

scenario('choosing with the mouse', async ({ open, submit, ended }) => {
  const id = await submit(range(6).map((i) => ({ name: `tile${i}.png`, data: tile(i) })));
  await ended(id);
  const page = await open(screen(id));
  const box = (i) => page.getByRole('checkbox', { name: `Select tile${i}.png` });
  await box(1).check();
  await box(4).click({ modifiers: ['Shift'] });
  await page.getByText('4 images selected').waitFor();
  await box(2).uncheck();
  await page.getByRole('region', { name: 'Selection' }).getByRole('button', { name: 'Reprocess…' }).click();
  await button(page, 'Process 3 images').click();
  await page.getByRole('paragraph').filter({ hasText: 'It processes 3 of 6 images of an earlier job again.' }).waitFor();
  for (const name of ['tile1.png', 'tile3.png', 'tile4.png']) await card(page, name).waitFor();
  assert.equal(await page.locator('.card').count(), 3);
});

scenario('images that look alike', async ({ open, submit, ended, axe }) => {
  const id = await submit([{ name: 'a.jpg', data: photo() }, { name: 'b.jpg', data: photo() }, { name: 'c.jpg', data: photo(3) }, { name: 'd.png', data: tile(1) }]);
  await ended(id);
  const page = await open(screen(id));
  await filter(page, 'Similar 3').click();
  await page.getByRole('heading', { name: '2 files with the same bytes' }).waitFor();
  await page.getByRole('heading', { name: '2 images that look alike' }).waitFor();
  await page.getByRole('list', { name: '2 files with the same bytes' }).getByRole('listitem').filter({ hasText: 'keep' }).getByText('a.jpg').waitFor();
  await axe(page);
});

for (const [width, dark] of [[390, true], [390, false], [1280, true]]) {
  scenario(`${width} pixels, ${dark ? 'dark' : 'light'}`, async ({ open, submit, ended, axe, noSidewaysScroll, screenshot }) => {
    const id = await submit([...photos(4), ...range(6).map((i) => ({ name: `tile${i}.png`, data: tile(i, { width: 90, height: i % 2 ? 60 : 120 }) })), damaged, text]);
    await ended(id);
    const page = await open(screen(id), { width, height: 844, dark });
    await loaded(page, 'IMG_1003.jpg');
    const columns = await page.locator('.cards').evaluate((grid) => getComputedStyle(grid).gridTemplateColumns.split(' ').length);
    assert.ok(columns >= 2, `${columns} columns`);
    await noSidewaysScroll(page);
    await axe(page);
    await screenshot(page, `job-${width}-${dark ? 'dark' : 'light'}`, { fullPage: width === 390 });
    await button(page, 'ZIP…').click();
    await page.getByRole('dialog', { name: 'Download as ZIP' }).waitFor();
    await axe(page);
  });
}
