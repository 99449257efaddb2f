// Takes the pictures of the console: five screens, light and dark, wide and narrow, as PNG files in $SCREENSHOTS, and four of them,
// small, in docs/console. `make pictures` runs it.

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { photos } from './examples.mjs';
import { withOrigin } from './origin.mjs';
import { photo, scenario, until, write } from './rig.mjs';

const docs = join(dirname(fileURLToPath(import.meta.url)), '../../docs/console');
const limit = 120_000; // bytes of a picture in the documentation
const options = { system: 'show', limit: 540 };

const sizes = { wide: { width: 1280, height: 800 }, narrow: { width: 390, height: 844, context: { deviceScaleFactor: 2 } } };
const themes = { light: { dark: false }, dark: { dark: true } };

// The pictures of the documentation, by screen.
const shown = { new: 'light-wide', job: 'light-wide', viewer: 'dark-wide', system: 'dark-wide' };

// What a model could say about docs/sunrise.jpg.
const caption = {
  title: 'Harbor light at sunrise',
  description: 'The sun rises over a calm sea behind a breakwater of large rocks. A small harbor light with black and yellow bands stands out against the orange sky.',
  keywords: ['sunrise', 'harbor light', 'breakwater', 'sea', 'rocks', 'silhouette'],
  alt_text: 'A banded harbor light on a rocky breakwater, with the sun rising over the sea to its right.',
};

// eachLook opens the route in each theme and size, prepares the page, and takes the picture.
async function eachLook({ open, noSidewaysScroll, screenshot }, screen, route, prepare) {
  for (const [theme, colors] of Object.entries(themes)) {
    for (const [size, viewport] of Object.entries(sizes)) {
      const page = await open(route, { ...viewport, ...colors });
      await prepare(page, size);
      await until(() => page.evaluate(() => [...document.images].every((image) => image.complete)), 'the images');
      await noSidewaysScroll(page);
      await page.mouse.move(0, 0);
      await page.evaluate(() => document.activeElement?.blur());
      await screenshot(page, `${screen}-${theme}-${size}`);
      if (shown[screen] === `${theme}-${size}`) await save(page, screen);
      await page.context().close();
    }
  }
}

// save writes a small picture of the page into the documentation. The page encodes it, because Chromium makes no WebP of itself.
async function save(page, name) {
  const png = (await page.screenshot()).toString('base64');
  const webp = await page.evaluate(async (base64) => {
    const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))]));
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext('2d').drawImage(bitmap, 0, 0);
    const blob = await canvas.convertToBlob({ type: 'image/webp', quality: 0.85 });
    return btoa(Array.from(new Uint8Array(await blob.arrayBuffer()), (byte) => String.fromCharCode(byte)).join(''));
  }, png);
  const data = Buffer.from(webp, 'base64');
  if (data.length > limit) throw new Error(`the picture of ${name} has ${data.length} bytes`);
  mkdirSync(docs, { recursive: true });
  writeFileSync(join(docs, `${name}.webp`), data);
}

const cut = (data) => data.subarray(0, data.length / 3);
const sent = (folder, images) => images.map(({ name, data }) => ({ name, data, custom_id: `${folder}/${name}` }));

async function examples({ open, control }) {
  await control.caption(caption); // before the model sees the photo for the first time: its answers are kept
  const page = await open('#/');
  const all = await photos(page);
  await page.context().close();
  return all;
}

scenario('the job', options, async (rig) => withOrigin(async (origin) => {
  const all = await examples(rig);
  const [damaged, ...good] = [...all].reverse();
  const late = [0, 1].map((i) => ({ url: origin.url(i), name: `DSC_060${i}.jpg` }));
  const id = await rig.submit([...sent('Painted Desert', good.reverse()), { name: 'DSC_0533.jpg', data: cut(damaged.data) }, ...late], { metadata: { label: 'Painted Desert' } });
  await until(async () => (await rig.api('GET', `api/v1/batch/${id}`)).completed === good.length, 'the images', 60);
  await eachLook(rig, 'job', `#/jobs/${id}`, async (page) => {
    await page.getByText('Live', { exact: true }).waitFor();
    await page.getByText(/2 open/).first().waitFor();
  });
  for (const i of [0, 1]) await origin.release(i, photo(i));
  await rig.ended(id);
}));

scenario('the viewer', options, async (rig) => {
  const all = await examples(rig);
  const id = await rig.submit(sent('Costa del Sol', all.filter(({ name }) => /sunrise|050/.test(name))), { metadata: { label: 'Costa del Sol' } });
  await rig.ended(id);
  await eachLook(rig, 'viewer', `#/jobs/${id}/0`, async (page) => {
    await page.getByText(caption.description).waitFor();
    await until(() => page.locator('.stage > img').last().evaluate((image) => image.naturalWidth > 1000), 'the file');
  });
});

scenario('the list of jobs', options, async (rig) => withOrigin(async (origin) => {
  const all = await examples(rig);
  const failed = await rig.submit([{ url: origin.url(0), name: 'IMG_2041.jpg' }], { metadata: { label: 'From the web' } });
  await origin.release(0, 404);
  await rig.ended(failed);
  const cancelled = await rig.submit([...sent('Scans 1987', all.slice(0, 4)), { url: origin.url(1) }], { metadata: { label: 'Scans 1987' } });
  await until(async () => (await rig.api('GET', `api/v1/batch/${cancelled}`)).completed === 4, 'the images', 60);
  await rig.api('POST', `api/v1/batch/${cancelled}/cancel`);
  await rig.ended(await rig.submit(sent('Orchard', all.slice(-6)), { metadata: { label: 'Orchard in spring' } }));
  await rig.ended(await rig.submit(all.slice(2, 5)));
  const open = await rig.submit([...sent('Wedding', all), { url: origin.url(2) }, { url: origin.url(3) }, { url: origin.url(4) }], { metadata: { label: 'Wedding, part 1' } });
  await until(async () => (await rig.api('GET', `api/v1/batch/${open}`)).completed === all.length, 'the images', 60);
  await eachLook(rig, 'jobs', '#/jobs', async (page) => {
    await page.getByRole('link', { name: 'Wedding, part 1' }).waitFor();
    await page.getByText(/3 open/).first().waitFor();
    await page.locator('.jobs-count').first().waitFor();
  });
  for (const i of [2, 3, 4]) await origin.release(i, photo(i));
  await rig.ended(open);
}));

scenario('the system', options, async (rig) => withOrigin(async (origin) => {
  const names = ['DSC_0711.jpg', 'IMG_2187.png'];
  const id = await rig.submit(names.map((name, i) => ({ url: origin.url(i), name })));
  for (const i of [0, 1]) await origin.release(i, 404);
  await rig.ended(id);
  for (const [index, name] of names.entries()) await rig.control.bury({ job_id: id, index, name });
  const open = await rig.submit([2, 3, 4].map((i) => ({ url: origin.url(i) })));
  await eachLook(rig, 'system', '#/system', async (page) => {
    for (const name of names) await page.getByRole('list', { name: 'Dead letters' }).getByRole('link', { name }).waitFor();
    await page.getByText('2 dead letters').first().waitFor();
    await page.locator('dt', { hasText: 'Open images' }).locator('+ dd').getByText('3', { exact: true }).waitFor();
  });
  for (const i of [2, 3, 4]) await origin.release(i, photo(i));
  await rig.ended(open);
}));

scenario('sending', options, async (rig) => {
  const all = await examples(rig);
  const paths = write(join(rig.folder, 'Painted Desert'), Object.fromEntries([
    ...all.map(({ name, data }) => [name, data]),
    ['DSC_0412.CR3', Buffer.from('\0\0\0\x18ftypcrx ', 'latin1')], ['DSC_0413.CR3', Buffer.from('\0\0\0\x18ftypcrx ', 'latin1')],
    ['notes.txt', Buffer.from('Blue Mesa, 8 o\'clock')], ['panorama.jpg', photo(1, 21 << 20)],
  ]));
  const folder = dirname(paths[0]);
  await eachLook(rig, 'new', '#/', async (page) => {
    // Two of them were sent before.
    await page.locator('input[webkitdirectory]').setInputFiles(folder);
    await page.getByRole('button', { name: 'Send 12' }).waitFor();
    await page.getByRole('checkbox', { name: /All selected/ }).uncheck();
    for (const name of ['DSC_0415.jpg', 'DSC_0416.jpg']) await page.getByRole('checkbox', { name }).check();
    await page.getByRole('button', { name: 'Send 2' }).click();
    await page.getByRole('heading', { level: 1, name: 'Job' }).waitFor();
    await page.getByRole('link', { name: 'New' }).click();
    await page.getByRole('button', { name: 'Remove all' }).click();
    await page.locator('input[webkitdirectory]').setInputFiles(folder);
    await page.getByRole('button', { name: 'Send 10' }).waitFor();
    await until(() => page.locator('.new-thumb img').count().then((n) => n === 12), 'the thumbnails');
    await page.evaluate(() => scrollTo(0, 0));
  });
});
