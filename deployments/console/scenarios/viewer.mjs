// The viewer of one image.

import { readFileSync } from 'node:fs';
import { withOrigin } from '../origin.mjs';
import { assert, photo, scenario, tile, until } from '../rig.mjs';

const screen = (id, index, rest = '') => `#/jobs/${id}/${index}${rest}`;
const heading = (page, name) => page.getByRole('heading', { level: 1, name, exact: true });
const text = (page, name) => page.locator('.text').filter({ has: page.getByRole('heading', { name: new RegExp(`^${name}\\b`) }) });
const button = (page, name) => page.getByRole('button', { name });
const download = (page) => page.getByRole('group', { name: 'Download' });
const part = (page, name) => page.locator('summary').getByText(name, { exact: true });
const stage = (page) => page.locator('.stage');
const range = (n) => [...Array(n).keys()];
const tiles = (n, size) => range(n).map((i) => ({ name: `tile${i}.png`, data: tile(i, size) }));
const focused = (page) => page.evaluate(() => document.activeElement.textContent);

// shown waits until the picture of a file is on the stage, and returns its <img>.
async function shown(page) {
  const img = stage(page).locator('img:not(.waiting)[alt]:not([alt=""])');
  await until(() => img.evaluate((e) => e.complete && e.naturalWidth > 0), 'the picture');
  return img;
}

// withXMP returns a JPEG with an XMP packet of these properties, in place of its own.
function withXMP(jpeg, properties) {
  const packet = Buffer.from(`http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/">${properties}</rdf:Description></rdf:RDF></x:xmpmeta>`);
  const head = Buffer.from([0xff, 0xe1, 0, 0]);
  head.writeUInt16BE(packet.length + 2, 2);
  return Buffer.concat([jpeg.subarray(0, 2), head, packet, jpeg.subarray(2)]);
}

// turned returns a JPEG whose EXIF has another orientation.
function turned(jpeg, orientation) {
  const copy = Buffer.from(jpeg);
  const tiff = copy.indexOf('Exif\0\0') + 6;
  assert.equal(copy.toString('latin1', tiff, tiff + 2), 'II');
  const directory = tiff + copy.readUInt32LE(tiff + 4);
  for (let i = 0; i < copy.readUInt16LE(directory); i++) {
    const entry = directory + 2 + 12 * i;
    if (copy.readUInt16LE(entry) === 0x0112) copy.writeUInt16LE(orientation, entry + 8);
  }
  return copy;
}

const xml = (value) => value.replace(/[<>&"]/g, (c) => `&#${c.charCodeAt(0)};`);
const bare = () => { // a photo without metadata
  const jpeg = photo();
  let at = 2;
  const parts = [jpeg.subarray(0, 2)];
  while (jpeg[at + 1] !== 0xda) {
    const end = at + 2 + jpeg.readUInt16BE(at + 2);
    if (![0xe1, 0xed, 0xfe].includes(jpeg[at + 1])) parts.push(jpeg.subarray(at, end));
    at = end;
  }
  return Buffer.concat([...parts, jpeg.subarray(at)]);
};

const recordOf = (api, id, index, options) => api('GET', `api/v1/batch/${id}/images/${index}/metadata`, undefined, options);

scenario('by keyboard through the images and back', async ({ open, submit, ended, screenshot }) => {
  const id = await submit(tiles(3));
  await ended(id);
  const page = await open(`#/jobs/${id}`);
  await page.getByRole('link', { name: 'tile0.png' }).focus();
  await page.keyboard.press('Enter');
  await heading(page, 'tile0.png').waitFor();
  await until(async () => await focused(page) === 'tile0.png', 'the focus on the heading');
  await page.getByText('Image 1 of 3').waitFor();
  assert.match(await page.title(), /^1\/3 tile0\.png · /);
  await shown(page);

  await part(page, 'All values').click();
  await page.getByRole('cell', { name: 'tile0.png' }).waitFor();
  await page.keyboard.press('ArrowRight');
  await heading(page, 'tile1.png').waitFor();
  await page.getByRole('status').filter({ hasText: 'Image 2 of 3, tile1.png' }).waitFor({ state: 'attached' });
  await page.getByRole('cell', { name: 'tile1.png' }).waitFor(); // the table is still open, in the same place
  assert.equal(await focused(page), 'All values');
  await page.keyboard.press('End');
  await heading(page, 'tile2.png').waitFor();
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowLeft');
  await heading(page, 'tile1.png').waitFor();
  await page.keyboard.press('Home');
  await heading(page, 'tile0.png').waitFor();
  await page.keyboard.press('ArrowLeft');
  await button(page, 'Next').focus();
  await page.keyboard.press('Enter');
  await page.keyboard.press('Enter');
  await heading(page, 'tile2.png').waitFor();
  assert.match(await focused(page), /Next/, 'the last image took the focus from the button');
  assert.equal(await button(page, 'Next').getAttribute('aria-disabled'), 'true');

  // In a field, the keys are those of the field.
  await page.getByRole('searchbox').fill('width');
  for (const key of ['Home', 'ArrowRight', 'ArrowLeft', 'End', 'Escape']) await page.keyboard.press(key);
  await heading(page, 'tile2.png').waitFor();
  assert.equal(await page.getByRole('searchbox').inputValue(), '');
  await page.keyboard.press('Tab');
  await screenshot(page, 'viewer-keyboard');
  await page.keyboard.press('Escape');
  await heading(page, `Job ${id.slice(0, 8)}`).or(page.locator('h1', { hasText: id.slice(0, 8) })).waitFor();
  await until(async () => (await focused(page)).startsWith('tile2.png'), 'the focus on the card of the last image');

  // The browser's Back leads to the same place: the images in between are not in the history.
  await page.keyboard.press('Enter');
  await heading(page, 'tile2.png').waitFor();
  await page.keyboard.press('ArrowLeft');
  await heading(page, 'tile1.png').waitFor();
  await page.goBack();
  await until(async () => (await focused(page)).startsWith('tile1.png'), 'the focus on the card after Back');
});

scenario('an address of an image leads to its job', async ({ open, submit, ended, allow }) => {
  const id = await submit(tiles(2));
  await ended(id);
  const page = await open(screen(id, 1));
  await heading(page, 'tile1.png').waitFor();
  await page.keyboard.press('Escape');
  await until(async () => (await focused(page)).startsWith('tile1.png'), 'the focus on the card');
  assert.ok(page.url().endsWith(`#/jobs/${id}`));
  await page.goto(page.url().replace(/#.*/, screen(id, 7)));
  await page.getByText('This job has only 2 images.').waitFor();
  allow(/status of 404/);
  await page.goto(page.url().replace(/#.*/, screen('11111111-2222-3333-4444-555555555555', 0)));
  await page.getByText('There is no such job.').waitFor();
});

scenario('only the images of the filter follow each other', async ({ open, submit, ended }) => {
  const cut = (name, n) => ({ name, data: photo(n).subarray(0, 20_000) });
  const id = await submit([cut('cut0.jpg', 0), ...tiles(2), cut('cut3.jpg', 3)]);
  await ended(id);
  const page = await open(screen(id, 0, '?show=failed'));
  await page.getByText('Image 1 of 4 · 1 of 2 “Failed”').waitFor();
  await page.keyboard.press('ArrowRight');
  await heading(page, 'cut3.jpg').waitFor();
  await page.getByText('Image 4 of 4 · 2 of 2 “Failed”').waitFor();
  await page.keyboard.press('Escape');
  await until(() => page.url().endsWith(`#/jobs/${id}?show=failed`));
  await until(async () => (await focused(page)).startsWith('cut3.jpg'), 'the focus on the card');
});

scenario('the origin of each text is in words', { system: 'captions' }, async ({ open, submit, ended, api, axe, screenshot }) => {
  const id = await submit([{ name: 'sunrise.jpg', data: photo() }, ...tiles(1)], { captions: true });
  await ended(id);
  const record = await recordOf(api, id, 0);
  const page = await open(screen(id, 0));
  await heading(page, 'sunrise.jpg').waitFor();
  // The file's own words win, and the model's whole answer is there too.
  await text(page, 'Title').getByText('from the file').waitFor();
  await text(page, 'Title').getByText(record.title, { exact: true }).waitFor();
  await text(page, 'Keywords').getByText('from the file').waitFor();
  for (const word of record.keywords) await text(page, 'Keywords').getByText(word, { exact: true }).waitFor();
  await text(page, 'Description').getByText('by the model stand-in').waitFor();
  await text(page, 'Description').getByText('A red disk lies in the middle of a light gray square.').waitFor();
  await text(page, 'Alt text').getByText('by the model stand-in').waitFor();
  const answer = page.locator('details.answer');
  await answer.getByText('Red disk', { exact: true }).waitFor();
  await answer.getByText('disk', { exact: true }).waitFor();
  await answer.getByText("not used: the file's own words win").first().waitFor();
  await answer.getByText('Used as they are: description, alt text.').waitFor();
  await page.getByText("The model's description and alt text are in that packet too").waitFor();
  await axe(page);
  await screenshot(page, 'viewer-origins');
  assert.equal(await (await shown(page)).getAttribute('alt'), 'A red disk on a light gray background.');

  await page.keyboard.press('ArrowRight');
  await heading(page, 'tile0.png').waitFor();
  for (const name of ['Title', 'Description', 'Keywords', 'Alt text']) await text(page, name).getByText('by the model stand-in').waitFor();
  assert.equal(await answer.count(), 0);

  const plain = await submit([{ name: 'plain.png', data: tile(77) }], { captions: false });
  await ended(plain);
  await page.goto(page.url().replace(/#.*/, screen(plain, 0)));
  await heading(page, 'plain.png').waitFor();
  for (const name of ['Title', 'Description', 'Keywords']) await text(page, name).getByText('composed', { exact: true }).waitFor();
  await text(page, 'Alt text').getByText('None: neither the file nor a model has one.').waitFor();
  assert.equal(await page.getByText('stand-in').count(), 0);
});

scenario('a model that gave no caption can be asked again', { system: 'captions' }, async ({ open, submit, ended, control }) => {
  await control.model('refused');
  const id = await submit([{ name: 'unseen.png', data: tile(78) }], { captions: true });
  await ended(id);
  const page = await open(screen(id, 0));
  await page.getByText('The model gave no caption for this image.').waitFor();
  await control.model('ok');
  await button(page, 'Ask again').click();
  const dialog = page.getByRole('dialog', { name: 'Ask the model again?' });
  await dialog.getByText('stand-in').waitFor();
  await button(dialog, 'Caption this image').click();
  await page.getByText('This is a new job.').waitFor();
  await page.getByRole('link', { name: 'unseen.png' }).click();
  await text(page, 'Title').getByText('by the model stand-in').waitFor();
});

const hostile = '<script>alert(1)</script><img src="http://example.com/x.png" onerror="alert(2)">';

scenario('hostile texts are only texts', async ({ open, submit, ended, noSidewaysScroll, axe, screenshot }) => {
  const words = range(60).map((i) => `<rdf:li>${xml(`<b onclick="alert(3)">keyword ${i}</b>`)}</rdf:li>`).join('');
  const data = withXMP(bare(), `<dc:title><rdf:Alt><rdf:li xml:lang="x-default">${xml(hostile)}</rdf:li></rdf:Alt></dc:title>
    <dc:description><rdf:Alt><rdf:li xml:lang="x-default">\u202eevil https://example.com/ javascript:alert(4) ${'x'.repeat(1800)}</rdf:li></rdf:Alt></dc:description><dc:subject><rdf:Bag>${words}</rdf:Bag></dc:subject>`);
  const id = await submit([{ name: `\u202egpj.exe <i onclick="alert(5)">${'n'.repeat(150)}.jpg`, data }]);
  const { original_filename: name } = (await ended(id)).images[0]; // the gateway removes the override
  const page = await open(screen(id, 0), { width: 390, height: 844 });
  await heading(page, name).waitFor();
  await text(page, 'Title').getByText(hostile, { exact: true }).waitFor();
  assert.equal(await text(page, 'Keywords').getByRole('listitem').filter({ hasText: 'keyword' }).count(), 40);
  await text(page, 'Keywords').getByRole('button', { name: 'Show all 60' }).click();
  await text(page, 'Keywords').getByText('<b onclick="alert(3)">keyword 59</b>', { exact: true }).waitFor();
  await text(page, 'Description').getByText('…').waitFor();
  await text(page, 'Description').getByRole('button', { name: 'Show all' }).click();
  await text(page, 'Description').getByText('x'.repeat(1800)).waitFor();
  await part(page, 'All values').click();
  await part(page, 'JSON').click();
  await page.getByRole('region', { name: 'JSON of the record' }).waitFor();
  await noSidewaysScroll(page);
  await axe(page);
  await screenshot(page, 'viewer-hostile-narrow', { fullPage: true });
  assert.equal(await page.locator('main a[href*="example.com"], main a[href^="javascript"], main script, main b, main i').count(), 0);
  for (const place of await page.locator('.text bdi').all()) assert.equal(await place.locator('*').count(), 0);
});

scenario('hostile words of a model are only texts', async ({ open, submit, ended, api, noSidewaysScroll }) => {
  const id = await submit([{ name: 'sunrise.jpg', data: photo() }]); // it has a title of its own
  await ended(id);
  const caption = {
    model: `"'>${hostile}`, language: '<i>de', title: `"'>${hostile} title`, description: '\u202e<b>evil</b> description', keywords: ['<b onclick="alert(6)">word</b>', '\u202egpj.exe'],
    alt_text: `"' onerror="alert(7)" x='${hostile}`, duration_ms: 1200, prompt_tokens: 3, completion_tokens: 4,
  };
  const body = { ...await recordOf(api, id, 0), alt_text: caption.alt_text, captioned: ['alt_text'], caption };
  const page = await open('docs', { width: 390, height: 844 });
  await page.route(/\/images\/0\/metadata$/, (route) => route.fulfill({ json: body }));
  await page.goto(page.url().replace(/docs$/, screen(id, 0)));
  await text(page, 'Alt text').getByText(`by the model ${caption.model}`).waitFor();
  assert.equal(await (await shown(page)).getAttribute('alt'), caption.alt_text);
  const answer = page.locator('details.answer');
  await answer.locator('summary').getByText(caption.model).waitFor();
  for (const words of [caption.title, caption.description, ...caption.keywords]) assert.equal(await answer.locator('bdi', { hasText: words }).locator('*').count(), 0);
  assert.deepEqual(await answer.locator('bdi').allTextContents(), [caption.model, caption.title, caption.description, ...caption.keywords]);
  assert.equal(await page.locator('main img[src*="example.com"], main a[href*="example.com"], main [onclick], main [onerror], main script, main b, main i').count(), 0);
  await noSidewaysScroll(page);
});

scenario('a longer record than any holds the layout', async ({ open, submit, ended, api, noSidewaysScroll }) => {
  const id = await submit(tiles(1));
  await ended(id);
  const record = await recordOf(api, id, 0);
  const page = await open('docs', { width: 390, height: 844 });
  const long = 'لغة'.repeat(3400);
  const body = { ...record, title: long, description: 'y'.repeat(10_000), keywords: range(200).map((i) => `word${i}`), alt_text: hostile, warnings: [long, hostile], later: { member: [{ of: null }, long] } };
  await page.route(/\/images\/0\/metadata$/, (route) => route.fulfill({ json: body }));
  await page.goto(page.url().replace(/docs$/, screen(id, 0)));
  await text(page, 'Keywords').getByRole('button', { name: 'Show all 200' }).click();
  await text(page, 'Keywords').getByText('word199').waitFor();
  await text(page, 'Title').getByRole('button', { name: 'Show all' }).click();
  await text(page, 'Title').getByText(long).waitFor();
  await page.getByText('2 warnings').waitFor();
  assert.equal(await (await shown(page)).getAttribute('alt'), hostile);
  await part(page, 'All values').click();
  await page.getByRole('rowheader', { name: 'later.member.0.of' }).waitFor();
  await noSidewaysScroll(page);
});

// leaves returns the values of a record by their dotted paths, each as a list of texts.
function leaves(node, path = '') {
  const plain = (value) => value === null || typeof value !== 'object';
  if (plain(node)) return { [path]: [String(node)] };
  if (Array.isArray(node) && node.every(plain)) return { [path]: node.map(String) };
  return Object.assign({}, ...Object.entries(node).map(([name, value]) => leaves(value, path ? `${path}.${name}` : name)));
}

scenario('the table and the JSON are the record', async ({ open, submit, ended, api, screenshot }) => {
  const id = await submit([{ name: 'sunrise.jpg', data: photo() }]);
  await ended(id);
  const record = await recordOf(api, id, 0);
  const page = await open(screen(id, 0), { context: { permissions: ['clipboard-read', 'clipboard-write'] } });
  await part(page, 'JSON').click();
  const json = page.getByRole('region', { name: 'JSON of the record' });
  assert.deepEqual(JSON.parse(await json.textContent()), record);
  await page.locator('.json').getByRole('button', { name: 'Copy' }).click();
  await page.getByText('Copied').first().waitFor();
  assert.deepEqual(JSON.parse(await page.evaluate(() => navigator.clipboard.readText())), record);

  await part(page, 'All values').click();
  const table = page.getByRole('table');
  await table.getByText('Width as displayed, EXIF orientation applied. Pixels.').waitFor();
  const rows = () => table.evaluate((e) => Object.fromEntries([...e.querySelectorAll('tr:has(td)')].map((row) => [row.querySelector('th').textContent, [...row.querySelectorAll('td bdi')].map((v) => v.textContent)])));
  assert.deepEqual(await rows(), leaves(record));
  assert.equal(await table.locator('tr:has(td):not(:has(small))').count(), 0, 'a value has no description');
  await table.getByRole('rowheader', { name: 'exif.gps', exact: true }).waitFor();
  await screenshot(page, 'viewer-table');
  await page.getByRole('searchbox').fill('gps degrees');
  assert.deepEqual(Object.keys(await rows()), ['exif.gps.latitude', 'exif.gps.longitude']);
  await page.getByText(/^2 of \d+ values$/).first().waitFor();
  await page.getByRole('searchbox').fill('no such value');
  await page.getByText('No value has these words.').waitFor();
});

scenario('the photo, its place and its look', async ({ open, submit, ended, api }) => {
  const id = await submit([{ name: 'sunrise.jpg', data: photo() }, { name: 'copy.jpg', data: photo() }, { name: 'turned.jpg', data: turned(photo(), 6) }]);
  await ended(id);
  const record = await recordOf(api, id, 0);
  const page = await open(screen(id, 0));
  const fact = (name) => page.locator('dt', { hasText: new RegExp(`^${name}$`) }).locator('+ dd');
  await fact('Camera').getByText('RICOH PENTAX K-3 II').waitFor();
  await fact('Exposure').getByText('1/200 s · f/5.6 · ISO 100 · 21 mm (like 31 mm on 35 mm film) · no flash').waitFor();
  await fact('Time').getByText(/October 27, 2017.* 8:38:52\sAM/).waitFor();
  const { latitude, longitude } = record.exif.gps;
  await fact('Place').getByText(`${latitude}° N, ${-longitude}° W`).waitFor();
  const link = fact('Place').getByRole('link');
  assert.equal(await link.getAttribute('href'), `https://www.openstreetmap.org/?mlat=${latitude}&mlon=${longitude}#map=15/${latitude}/${longitude}`);
  assert.equal(await link.getAttribute('rel'), 'noreferrer');
  const swatches = await fact('Colors').locator('.swatch').evaluateAll((all) => all.map((e) => getComputedStyle(e).backgroundColor));
  const rgb = (hex) => `rgb(${[1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)).join(', ')})`;
  assert.deepEqual(swatches, record.dominant_colors.map(({ hex }) => rgb(hex)));
  for (const { name } of record.dominant_colors) await fact('Colors').getByText(name).first().waitFor();
  await fact('SHA-256').getByText(record.sha256).waitFor();
  await fact('SHA-256').getByText(record.processed.sha256).waitFor();
  await page.getByText('The measured values were added to the XMP packet of the file.').waitFor();

  const alike = page.locator('.alike');
  assert.equal(await alike.getByRole('link').count(), 1);
  await alike.getByRole('link', { name: /copy\.jpg same bytes/ }).click();
  await heading(page, 'copy.jpg').waitFor();
  await alike.getByRole('link', { name: /sunrise\.jpg same bytes/ }).waitFor();

  // The browser turns the picture as its EXIF says.
  await page.keyboard.press('End');
  await heading(page, 'turned.jpg').waitFor();
  const img = await shown(page);
  const other = await recordOf(api, id, 2);
  assert.deepEqual(await img.evaluate((e) => [e.naturalWidth, e.naturalHeight]), [other.width, other.height]);
  assert.ok(other.height > other.width);
  assert.equal(await img.evaluate((e) => getComputedStyle(e).imageOrientation), 'from-image');
});

scenario('a flag, a warning and what is missing are in words', async ({ open, submit, ended }) => {
  const white = tile(0, { width: 64, height: 64 });
  const id = await submit([{ name: 'noisy.jpg', data: Buffer.concat([photo(), Buffer.alloc(64)]) }, { name: 'small.png', data: white }]);
  await ended(id);
  const page = await open(screen(id, 0));
  await page.getByText('A warning').waitFor();
  await page.getByText(/bytes after the end of the image/).waitFor();
});

scenario('downloads without keys', async ({ open, submit, ended, base }) => {
  const id = await submit([{ name: 'sunrise.jpg', data: photo() }]);
  await ended(id);
  const page = await open(screen(id, 0));
  await shown(page);
  for (const [name, path, file] of [['File', 'file', 'sunrise.jpg'], ['Original', 'original', 'sunrise.jpg'], ['JSON', 'metadata', 'sunrise.jpg.json']]) {
    const [saved] = await Promise.all([page.waitForEvent('download'), download(page).getByRole('link', { name, exact: true }).click()]);
    assert.equal(saved.suggestedFilename(), file);
    const want = Buffer.from(await (await fetch(new URL(`api/v1/batch/${id}/images/0/${path}`, base))).arrayBuffer());
    assert.ok(readFileSync(await saved.path()).equals(want), `${name} is another file`);
  }
  assert.equal(await download(page).getByRole('link', { name: 'XMP' }).count(), 0); // there is no sidecar
  await heading(page, 'sunrise.jpg').waitFor();
});

scenario('downloads with a key', { system: 'keys' }, async ({ open, submit, ended, key, base }) => {
  const id = await submit([{ name: 'sunrise.jpg', data: photo() }], { key });
  await ended(id, { key });
  const page = await open(screen(id, 0), { key });
  await shown(page);
  const requests = [];
  page.on('request', (request) => requests.push(request.url()));
  for (const [name, path, file] of [['File', 'file', 'sunrise.jpg'], ['Original', 'original', 'sunrise.jpg'], ['JSON', 'metadata', 'sunrise.jpg.json']]) {
    const [saved] = await Promise.all([page.waitForEvent('download'), download(page).getByRole('button', { name, exact: true }).click()]);
    assert.equal(saved.suggestedFilename(), file);
    const want = await fetch(new URL(`api/v1/batch/${id}/images/0/${path}`, base), { headers: { Authorization: `Bearer ${key}` } });
    assert.ok(readFileSync(await saved.path()).equals(Buffer.from(await want.arrayBuffer())), `${name} is another file`);
    await page.getByRole('status').filter({ hasText: 'The download has started' }).waitFor({ state: 'attached' });
  }
  assert.ok(!requests.join().includes(key), 'a URL has the key');
  await heading(page, 'sunrise.jpg').waitFor();
});

scenario('with a key, the pictures of two neighbors are in memory and no more', { system: 'keys' }, async ({ open, submit, ended, key }) => {
  const id = await submit(tiles(6), { key });
  await ended(id, { key });
  const page = await open('docs', { key });
  await page.addInitScript(() => {
    window.urls = new Set();
    const { createObjectURL: create, revokeObjectURL: revoke } = URL;
    URL.createObjectURL = (blob) => {
      const url = create.call(URL, blob);
      window.urls.add(url);
      return url;
    };
    URL.revokeObjectURL = (url) => {
      window.urls.delete(url);
      revoke.call(URL, url);
    };
  });
  await page.goto(page.url().replace(/docs$/, screen(id, 0)));
  const live = () => page.evaluate(() => window.urls.size);
  for (const i of range(6)) {
    await heading(page, `tile${i}.png`).waitFor();
    assert.match(await (await shown(page)).getAttribute('src'), /^blob:/);
    await page.keyboard.press('ArrowRight');
  }
  await page.keyboard.press('ArrowLeft');
  await heading(page, 'tile4.png').waitFor();
  await shown(page);
  await until(async () => await live() <= 4, 'three files and a thumbnail');
  await page.getByRole('link', { name: 'New' }).click();
  await heading(page, 'tile4.png').waitFor({ state: 'detached' });
  await until(async () => await live() === 0, 'no picture');
});

scenario('a failed image says why, and is retried', async ({ open, submit, ended, axe, screenshot }) => withOrigin(async (origin) => {
  const id = await submit([{ url: origin.url(0) }, ...tiles(1)]);
  await origin.release(0, 404);
  await ended(id);
  const page = await open(screen(id, 0), { width: 390, height: 844, dark: true });
  await page.getByText(/^This image failed/).waitFor();
  await page.getByText('Check that the link opens without a login.').waitFor();
  assert.equal(await download(page).getByRole('link').count(), 0);
  await axe(page);
  await screenshot(page, 'viewer-failed-dark-narrow');
  await button(page, 'Retry this one').click();
  await page.getByText('This is a new job. It processes 1 image').waitFor();
  assert.ok(!page.url().includes(id));
  await page.getByRole('link', { name: 'image0.jpg' }).click();
  await origin.release(0, photo());
  await text(page, 'Title').getByText('Sunrise in Spain').waitFor();
}));

scenario('a damaged image shows what is left of its original', async ({ open, submit, ended, allow }) => {
  const cut = (bytes) => ({ name: 'cut.jpg', data: photo().subarray(0, bytes) });
  const id = await submit([cut(60_000), cut(20_000)]); // the gateway refuses the second one before it stores it
  await ended(id);
  const page = await open(screen(id, 0));
  await page.getByText('Copy it again from the camera or a backup, and send that. A retry would fail again.').waitFor();
  assert.equal(await button(page, 'Retry').count(), 0);
  await button(page, 'Show the original').click();
  await shown(page);
  await download(page).getByRole('link', { name: 'Original' }).waitFor();
  assert.equal(await download(page).getByRole('link').count(), 1);
  await page.keyboard.press('ArrowRight');
  await button(page, 'Show the original').click();
  allow(/status of 404/);
  await page.getByText('The gateway has no file of this image.').waitFor();
  assert.equal(await download(page).getByRole('link').count(), 0);
});

scenario('an open image becomes whole', async ({ open, submit, axe }) => withOrigin(async (origin) => {
  const id = await submit([{ url: origin.url(0) }, { url: origin.url(1) }]);
  const page = await open(screen(id, 0));
  await page.getByText('the page updates by itself').waitFor();
  await page.getByText('The picture is here when the image is completed.').waitFor();
  assert.equal(await download(page).getByRole('link').count(), 0);
  await axe(page);
  await origin.release(0, photo());
  await text(page, 'Title').getByText('Sunrise in Spain').waitFor();
  await page.getByRole('status').filter({ hasText: 'This image is completed' }).waitFor({ state: 'attached' });
  await shown(page);
  await download(page).getByRole('link', { name: 'File' }).waitFor();
  await page.getByRole('button', { name: 'Next' }).click();
  await page.getByText('the page updates by itself').waitFor();
  await origin.release(1, 404);
  await page.getByText(/^This image failed/).waitFor();
}));

scenario('results that are gone, and a storage that is down', async ({ open, submit, ended, axe, allow, screenshot }) => {
  allow(/status of 404/, /status of 503/);
  const id = await submit(tiles(2));
  await ended(id);
  const page = await open('docs');
  const answer = (status, error) => (route) => route.fulfill({ status, json: { error, status }, headers: { 'Retry-After': '1' } });
  const results = /\/images\/0\/(metadata|file|thumbnail)$/;
  await page.route(results, answer(404, 'No result: that of images[0] is no longer kept'));
  await page.goto(page.url().replace(/docs$/, screen(id, 0)));
  await page.getByText('The results of this image are no longer kept.').waitFor();
  await page.getByText('The picture could not be loaded.').waitFor();
  await until(async () => (await download(page).getByRole('link').allTextContents()).join() === 'Original', 'only the original');
  await until(async () => await stage(page).locator('img').count() === 0, 'no broken picture');
  await axe(page);
  await screenshot(page, 'viewer-gone');
  await page.unroute(results);
  await page.route(results, answer(503, 'Storage unavailable'));
  await page.reload();
  await page.getByText('The record could not be read: Storage unavailable').waitFor();
  await page.unroute(results);
  await page.locator('.note').getByRole('button', { name: 'Try again' }).click();
  await text(page, 'Title').getByText('composed').waitFor();
  await page.locator('.stage-frame').getByRole('button', { name: 'Try again' }).click();
  await shown(page);
});

for (const [name, settings] of Object.entries({ 'light and wide': {}, 'dark and narrow': { dark: true, width: 390, height: 844 }, 'dark and wide': { dark: true }, 'light and narrow': { width: 390, height: 844 } })) {
  scenario(`a photo in ${name}`, async ({ open, submit, ended, axe, noSidewaysScroll, screenshot }) => {
    const id = await submit([{ name: 'sunrise.jpg', data: photo() }, { name: 'again.jpg', data: photo(1) }]);
    await ended(id);
    const page = await open(screen(id, 0), settings);
    await shown(page);
    await page.locator('.alike').waitFor();
    await screenshot(page, `viewer-${name.replaceAll(' ', '-')}`);
    await part(page, 'All values').click();
    await page.getByRole('table').getByText('sunrise.jpg').waitFor();
    await part(page, 'JSON').click();
    await axe(page);
    await noSidewaysScroll(page);
  });
}

scenario('a large picture is shown in its actual size, a small one is not enlarged', async ({ open, submit, ended }) => {
  const id = await submit([{ name: 'large.png', data: tile(1, { width: 1600, height: 1200 }) }, ...tiles(1)]);
  await ended(id);
  const page = await open(screen(id, 0));
  const img = await shown(page);
  const box = await stage(page).boundingBox();
  await until(async () => (await img.boundingBox()).width <= box.width);
  await button(page, 'Actual size').click();
  await until(async () => (await img.boundingBox()).width === 1600, 'the actual size');
  await stage(page).focus();
  await page.keyboard.press('ArrowRight'); // scrolls
  await heading(page, 'large.png').waitFor();
  await page.keyboard.press('Escape');
  await until(async () => (await img.boundingBox()).width <= box.width, 'the whole picture');
  await page.keyboard.press('ArrowRight');
  await heading(page, 'tile0.png').waitFor();
  await until(async () => (await (await shown(page)).boundingBox()).width === 48, 'a small picture');
  assert.equal(await button(page, 'Actual size').count(), 0);
});

scenario('a swipe goes to the next image', async ({ open, submit, ended }) => {
  const id = await submit(tiles(2, { width: 300, height: 300 }));
  await ended(id);
  const page = await open(screen(id, 0), { width: 390, height: 844, context: { hasTouch: true } });
  await shown(page);
  const box = await stage(page).boundingBox();
  const session = await page.context().newCDPSession(page);
  const swipe = async (dx, dy) => {
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    await session.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints: [{ x, y }] });
    await session.send('Input.dispatchTouchEvent', { type: 'touchMove', touchPoints: [{ x: x + dx, y: y + dy }] });
    await session.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] });
  };
  await swipe(-150, 10);
  await heading(page, 'tile1.png').waitFor();
  await swipe(150, 10);
  await heading(page, 'tile0.png').waitFor();
});
