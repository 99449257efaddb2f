// What a job has made: downloads and captions.

import { readFileSync } from 'node:fs';
import { assert, photo, scenario, tile, until } from '../rig.mjs';
import { unzip } from '../zip.mjs';

const screen = (id, rest = '') => `#/jobs/${id}${rest}`;
const badge = (page) => page.locator('h1 .badge');
const button = (page, name) => page.getByRole('button', { name });
const range = (n) => [...Array(n).keys()];
const damaged = { name: 'cut.jpg', data: photo(99).subarray(0, 20_000), custom_id: 'trip/cut.jpg' };

// saved clicks and returns the path and the name of the file that the browser saves.
async function saved(page, click) {
  const [download] = await Promise.all([page.waitForEvent('download'), click()]);
  return { path: await download.path(), name: download.suggestedFilename() };
}

for (const system of ['open', 'keys', 'prefix']) {
  scenario(`ZIP and JSONL with ${system}`, { system }, async ({ open, submit, ended, api, key, screenshot }) => {
    const id = await submit([{ name: 'a.jpg', data: photo(), custom_id: 'trip/day 1/a.jpg' }, { name: 'b.png', data: tile(1), custom_id: 'trip/b.png' }, damaged]);
    await ended(id);
    const page = await open(screen(id), { key });
    await button(page, 'ZIP…').click();
    const dialog = page.getByRole('dialog', { name: 'Download as ZIP' });
    await dialog.getByText('1 image has no files.').waitFor();
    await button(dialog, 'Download, about').waitFor(); // its size
    await screenshot(page, `job-zip-${system}`);
    const all = await saved(page, () => button(dialog, 'Download').click());
    await dialog.waitFor({ state: 'detached' });
    assert.equal(all.name, `${id}.zip`);
    const files = unzip(all.path);
    assert.deepEqual(Object.keys(files), ['trip/day 1/a.jpg', 'trip/day 1/a.jpg.json', 'trip/b.png', 'trip/b.png.json', 'manifest.jsonl']);
    assert.equal(JSON.parse(files['trip/b.png.json']).original_filename, 'b.png');
    const record = await api('GET', `api/v1/batch/${id}/images/0/metadata`);
    assert.equal(files['trip/day 1/a.jpg'].length, record.processed.file_size);

    await button(page, 'ZIP…').click();
    await dialog.getByLabel('Images').uncheck();
    await dialog.getByLabel('Records').uncheck();
    await dialog.getByText('Choose at least one.').waitFor();
    assert.ok(await button(dialog, 'Download').isDisabled());
    await dialog.getByLabel('Thumbnails').check();
    await dialog.getByLabel('All in one folder').check();
    const some = await saved(page, () => button(dialog, 'Download').click());
    assert.deepEqual(Object.keys(unzip(some.path)), ['a.jpg.thumb.jpg', 'b.png.thumb.jpg', 'manifest.jsonl']);

    const lines = await saved(page, () => button(page, 'JSONL').click());
    assert.deepEqual(readFileSync(lines.path, 'utf8').trim().split('\n').map((line) => JSON.parse(line).status), ['completed', 'completed', 'failed']);
    assert.equal(new URL(page.url()).hash, screen(id)); // the page stays
  });
}

scenario('missing captions, and removing those of a model', { system: 'captions' }, async ({ open, submit, ended, api, control, axe, screenshot }) => {
  await control.model('refused');
  const id = await submit(range(3).map((i) => ({ name: `tile${i}.png`, data: tile(40 + i) })));
  await ended(id);
  await control.model('ok');
  const page = await open(screen(id));
  await page.getByRole('link', { name: 'No caption 3' }).click();
  await page.getByText('completed, no caption').first().waitFor();
  await axe(page);
  await screenshot(page, 'job-no-captions');
  await button(page, 'Caption the 3 missing…').click();
  const question = page.getByRole('dialog', { name: 'Ask the model again?' });
  await question.getByText('goes to the model stand-in at 127.0.0.1').waitFor();
  await button(question, 'Caption 3 images').click();
  await page.getByRole('paragraph').filter({ hasText: 'It captions 3 images of an earlier job.' }).waitFor();
  await badge(page).getByText('Completed').waitFor();
  assert.equal(await page.getByRole('link', { name: 'No caption' }).count(), 0);
  const alt = await until(() => page.locator('.card img').first().getAttribute('alt').then((text) => text || null), 'the alternative text of the model');
  const captioned = page.url().split('/').pop();
  assert.equal((await api('GET', `api/v1/batch/${captioned}/images/0/metadata`)).alt_text, alt);

  await button(page, "Remove model's words…").click();
  await page.getByRole('dialog').getByText('A model wrote texts of 3 images.').waitFor();
  await axe(page);
  await button(page, 'Make files without them').click();
  await page.locator('main').getByText("It makes 3 files of an earlier job again, without a model's words.").waitFor();
  await badge(page).getByText('Completed').waitFor();
  const removed = page.url().split('/').pop();
  for (const i of range(3)) assert.equal((await api('GET', `api/v1/batch/${removed}/images/${i}/metadata`)).captioned, undefined);
  assert.equal(await button(page, "Remove model's words").count(), 0);

  await button(page, 'Reprocess…').click();
  const dialog = page.getByRole('dialog', { name: 'Process again' });
  await dialog.getByLabel('By the model stand-in').check();
  await button(dialog, 'Process 3 images').click();
  await page.getByRole('paragraph').filter({ hasText: 'It processes all 3 images of an earlier job again.' }).waitFor();
  await badge(page).getByText('Completed').waitFor();
  await button(page, "Remove model's words…").waitFor();
});
