// The screen of an upload: the jobs of one drop, and their images in one grid.

import { largeUpload } from '../large.mjs';
import { withOrigin } from '../origin.mjs';
import { assert, photo, scenario, tile, until } from '../rig.mjs';

const range = (n) => [...Array(n).keys()];
const names = (page) => page.locator('.card .card-name').allTextContents();

scenario('the images of several jobs', async ({ open, submit, ended, axe, noSidewaysScroll, screenshot }) => {
  const metadata = { upload: 'holiday', label: 'Holiday' };
  const first = await submit(range(3).map((i) => ({ name: `a${i}.jpg`, data: photo(i) })), { metadata });
  const second = await submit([{ name: 'b0.png', data: tile(1) }, { name: 'b1.jpg', data: photo(9).subarray(0, 40_000) }], { metadata });
  for (const id of [first, second]) await ended(id);
  const page = await open('#/uploads/holiday');
  await page.getByText('4 done, 1 failed').waitFor();
  await page.locator('.card').nth(4).waitFor();
  assert.deepEqual(await names(page), ['a0.jpg', 'a1.jpg', 'a2.jpg', 'b0.png', 'b1.jpg']);
  await until(() => page.locator('.card img').evaluateAll((all) => all.length === 4 && all.every((img) => img.naturalWidth > 0)), 'the thumbnails');
  await axe(page);
  await screenshot(page, 'upload');

  await page.getByRole('link', { name: 'Failed 1' }).click();
  await until(async () => (await names(page)).join() === 'b1.jpg', 'the failed image only');
  await page.getByText('ends before its end-of-image marker').waitFor();
  await page.getByRole('link', { name: 'All 5' }).click();
  await page.locator('.card').nth(3).getByRole('link').click();
  await page.getByRole('heading', { name: 'b0.png' }).waitFor();
  await page.keyboard.press('Escape');
  await until(() => page.evaluate(() => document.activeElement.textContent.startsWith('b0.png')), 'the focus on the image that was open');
  assert.match(page.url(), /#\/uploads\/holiday$/);

  await page.getByText('2 jobs', { exact: true }).click();
  assert.deepEqual(await page.getByRole('list', { name: 'Jobs of this upload' }).getByRole('link', { name: /^Job/ }).evaluateAll((all) => all.map((link) => link.hash)), [first, second].map((id) => `#/jobs/${id}`));
  await page.setViewportSize({ width: 390, height: 844 });
  await noSidewaysScroll(page);
  await screenshot(page, 'upload-390');
  await page.getByRole('link', { name: 'Choose among these jobs' }).click();
  await page.getByText('Select all 2 shown').waitFor();
});

scenario('images end while the upload is shown', async ({ open, submit, ended }) => withOrigin(async (origin) => {
  const metadata = { upload: 'live', label: 'Live' };
  await ended(await submit([{ name: 'one.png', data: tile(1) }], { metadata }));
  const id = await submit([{ url: origin.url(0), name: 'two.png' }], { metadata });
  const page = await open('#/uploads/live');
  await page.locator('.card').nth(1).waitFor();
  await page.evaluate(() => { document.querySelector('.card').first = true; });
  await page.locator('.card').nth(1).getByText('processing').waitFor();
  await origin.release(0, tile(2));
  await page.locator('.card').nth(1).getByText('completed').waitFor();
  await page.getByText('2 done').waitFor();
  assert.equal(await page.evaluate(() => document.querySelector('.card').first), true, 'the card of the other image was drawn again');
  await ended(id);
}));

scenario('1,000 images of ten jobs', async ({ open, submit, ended, api }) => {
  const small = await submit([{ name: 'one.jpg', data: photo() }]);
  await ended(small);
  const job = await api('GET', `api/v1/batch/${small}`);
  const page = await open('#/');
  let thumbnails = 0;
  await largeUpload(page, job, 10, () => { thumbnails++; });
  await page.evaluate(() => { location.hash = '#/uploads/large'; });
  await page.locator('.card').nth(999).waitFor({ state: 'attached' });
  await until(() => page.locator('.card img').first().evaluate((img) => img.naturalWidth > 0), 'the first thumbnail');
  await page.waitForLoadState('networkidle');
  assert.ok(thumbnails < 150, `${thumbnails} thumbnails are loaded before anybody scrolls`);
  const drawn = await page.evaluate(() => [...document.querySelectorAll('.card')].filter((card) => card.checkVisibility({ contentVisibilityAuto: true })).length);
  assert.ok(drawn <= 240, `${drawn} cards are drawn, although 30 can be seen`);
  await page.locator('.card-open').first().focus();
  await page.keyboard.press('End');
  await until(() => page.evaluate(() => document.activeElement.textContent.startsWith('9_99.jpg')), 'the focus on the last card');
  assert.ok(await page.locator('.card').nth(999).evaluate((card) => card.getBoundingClientRect().top < innerHeight));
});
