// The upload screen: what a person chooses, and in which ways. scenarios/sending.mjs sends it.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { assert, drop, paste, photo, scenario, tile, until, write } from '../rig.mjs';

const range = (n) => [...Array(n).keys()];
const button = (page, name) => page.getByRole('button', { name });
const rows = (page) => page.getByRole('list', { name: 'Chosen images' }).getByRole('listitem');
const names = (page) => page.locator('.new-row .new-name').allTextContents();
const refused = (page) => page.locator('.new-refused');

// shownIn waits until a picture of the list is drawn.
const drawn = (page, name) => until(() => rows(page).filter({ hasText: name }).locator('img').evaluate((img) => img.naturalWidth > 0), `the picture of ${name}`);

// sent sends what is chosen and returns the job that the page then shows.
async function sent(page, { api, ended }, n) {
  await button(page, `Send ${n}`).click();
  await until(() => /#\/jobs\/[\w-]{36}$/.test(page.url()), 'the screen of the job');
  const id = page.url().split('/').pop();
  await ended(id);
  return api('GET', `api/v1/batch/${id}`);
}

scenario('dropped photos become a job', async (rig) => {
  const { open, folder, axe, screenshot } = rig;
  const page = await open('#/');
  await page.getByText('JPEG and PNG, up to 10 MB each.').waitFor();
  await axe(page);
  await screenshot(page, 'new-empty');
  await drop(page, '.new-drop', write(folder, { 'IMG_10.jpg': photo(10), 'IMG_9.jpg': photo(9), 'leaf.png': tile(1) }));
  await button(page, 'Send 3').waitFor();
  assert.deepEqual(await names(page), ['IMG_9.jpg', 'IMG_10.jpg', 'leaf.png']);
  await drawn(page, 'leaf.png');
  await page.getByRole('status').filter({ hasText: '3 images added' }).waitFor({ state: 'attached' });
  await axe(page);
  await screenshot(page, 'new-list');

  await drop(page, '.new-drop', [join(folder, 'IMG_9.jpg')]);
  await page.getByText('1 file is already in the list.').waitFor();
  await page.getByRole('checkbox', { name: 'IMG_10.jpg' }).uncheck();
  await page.getByText('2 of 3 selected').waitFor();
  await button(page, 'Remove leaf.png').click();
  const job = await sent(page, rig, 1);
  assert.deepEqual(job.images.map((image) => [image.original_filename, image.custom_id, image.status]), [['IMG_9.jpg', 'IMG_9.jpg', 'completed']]);
  assert.equal(await page.evaluate(() => document.activeElement.matches('h1') && document.activeElement.textContent.startsWith('Job')), true, 'the focus is not on the heading of the job');

  await page.getByRole('link', { name: 'New' }).click();
  await button(page, 'Send 0').waitFor(); // what was not ticked stays
  assert.deepEqual(await names(page), ['IMG_10.jpg']);
});

scenario('files that are dropped beside the field', async ({ open, folder }) => {
  const paths = write(folder, { 'a.jpg': photo(1), 'b.jpg': photo(2), 'c.jpg': photo(3) });
  const page = await open('#/');
  await page.locator('h1').waitFor();
  await drop(page, { x: 3, y: 880 }, [paths[0]]);
  await rows(page).filter({ hasText: 'a.jpg' }).waitFor();
  await button(page, 'Add URLs').click();
  await drop(page, { x: 3, y: 3 }, [paths[1]]); // beside an open dialog
  await rows(page).filter({ hasText: 'b.jpg' }).waitFor({ state: 'attached' });
  await page.keyboard.press('Escape');
  await page.getByRole('link', { name: 'Jobs' }).click();
  await page.getByRole('heading', { name: 'Jobs' }).waitFor();
  await drop(page, 'header', [paths[2]]); // on another screen
  await rows(page).filter({ hasText: 'c.jpg' }).waitFor();
  assert.equal(new URL(page.url()).hash, '#/');
  assert.deepEqual(await names(page), ['a.jpg', 'b.jpg', 'c.jpg']);
});

scenario('what is dragged over the page', async ({ open, folder, screenshot }) => {
  const [path] = write(folder, { 'a.jpg': photo() });
  const page = await open('#/');
  await page.locator('h1').waitFor();
  const session = await page.context().newCDPSession(page);
  const drag = (type) => session.send('Input.dispatchDragEvent', { type, x: 600, y: 500, data: { items: [], files: [path], dragOperationsMask: 1 } });
  await drag('dragEnter');
  await drag('dragOver');
  await page.getByText('Drop to add').waitFor();
  await screenshot(page, 'new-dragging');
  await drag('dragCancel');
  await page.getByText('Drop to add').waitFor({ state: 'detached' });
  assert.equal(await rows(page).count(), 0);
});

scenario('pasted pictures and URLs', async (rig) => {
  const { open } = rig;
  const page = await open('#/');
  await page.locator('h1').waitFor();
  await paste(page, 'just a text');
  await page.getByText('The clipboard has neither an image nor a list of URLs.').waitFor();
  await paste(page, [{ name: 'image.png', type: 'image/png', data: tile(1) }, { name: 'garden.jpg', type: 'image/jpeg', data: photo(2) }]);
  await button(page, 'Send 2').waitFor();
  assert.match((await names(page)).join(), /^garden\.jpg,pasted \d{4}-\d\d-\d\d \d\d\.\d\d\.\d\d\.png$/);
  await paste(page, '# from the wall\nhttp://127.0.0.1:9/a%20b.jpg\n\nhttp://127.0.0.1:9/a%20b.jpg\n');
  await button(page, 'Send 3').waitFor();
  assert.equal((await names(page))[2], 'a b.jpg');
  assert.equal(await page.getByText('The clipboard has neither').count(), 0);
  const job = await sent(page, rig, 3);
  assert.deepEqual(job.images.map(({ status, custom_id: id }) => [status, id.replace(/\d/g, '0')]), [
    ['completed', 'garden.jpg'], ['completed', 'pasted 0000-00-00 00.00.00.png'], ['failed', 'http://000.0.0.0:0/a%00b.jpg'],
  ]);
});

scenario('URLs in the dialog', async ({ open, axe, screenshot }) => {
  const page = await open('#/');
  await button(page, 'Add URLs').click();
  const dialog = page.getByRole('dialog', { name: 'Add URLs' });
  const field = dialog.getByRole('textbox', { name: 'One URL in each line' });
  await until(() => field.evaluate((e) => e === document.activeElement), 'the focus in the field');
  await button(dialog, /^Add/).click();
  await dialog.getByText('Enter at least one URL.').waitFor();
  await field.fill('http://127.0.0.1:9/a.jpg\nftp://127.0.0.1/b.jpg\nhello');
  await button(dialog, 'Add 1 URL').click();
  await dialog.getByText('Line 2 is not an http or https URL: ftp://127.0.0.1/b.jpg').waitFor();
  await dialog.getByText('Line 3 is not an http or https URL: hello').waitFor();
  await axe(page);
  await screenshot(page, 'new-urls');
  await field.fill('http://127.0.0.1:9/a.jpg\nhttp://127.0.0.1:9/b.jpg');
  await button(dialog, 'Add 2 URLs').click();
  await dialog.waitFor({ state: 'detached' });
  assert.deepEqual(await names(page), ['a.jpg', 'b.jpg']);
});

for (const how of ['dropped', 'chosen']) {
  scenario(`a ${how} folder keeps its paths`, async (rig) => {
    const { open, folder } = rig;
    write(folder, {
      'Summer/IMG_1.jpg': photo(1), 'Summer/day 2/IMG_1.jpg': photo(2), 'Summer/day 10/IMG_1.png': tile(3), 'Summer/.DS_Store': Buffer.from('x'), 'Summer/Thumbs.db': Buffer.from('x'),
      'Summer/@eaDir/IMG_1.jpg/SYNOPHOTO_THUMB_M.jpg': photo(4), 'Summer/._IMG_1.jpg': photo(5),
    });
    const page = await open('#/');
    await page.locator('h1').waitFor();
    if (how === 'dropped') await drop(page, '.new-drop', [join(folder, 'Summer')]);
    else {
      const [chooser] = await Promise.all([page.waitForEvent('filechooser'), button(page, 'Choose folder').click()]);
      await chooser.setFiles(join(folder, 'Summer'));
    }
    await button(page, 'Send 3').waitFor();
    assert.equal(await refused(page).count(), 0, 'a system file is mentioned');
    const job = await sent(page, rig, 3);
    assert.deepEqual(job.images.map((image) => [image.custom_id, image.original_filename]), [
      ['Summer/day 2/IMG_1.jpg', 'IMG_1.jpg'], ['Summer/day 10/IMG_1.png', 'IMG_1.png'], ['Summer/IMG_1.jpg', 'IMG_1.jpg'],
    ]);
    assert.equal(job.metadata.label, 'Summer');
  });
}

scenario('a folder without images, and one with many', async ({ open, folder }) => {
  const page = await open('#/');
  await page.locator('h1').waitFor();
  mkdirSync(join(folder, 'empty'));
  await drop(page, '.new-drop', [join(folder, 'empty')]);
  await page.locator('.new-note').getByText('There are no images in it.').waitFor();
  write(folder, Object.fromEntries(range(250).map((i) => [`many/${i}.png`, tile(i)]))); // a browser lists 100 at a time
  await drop(page, '.new-drop', [join(folder, 'many')]);
  await button(page, 'Send 250').waitFor();
  assert.equal(await page.locator('.new-note').count(), 0);
});

scenario('refused files are grouped', async ({ open, folder, axe, screenshot }) => {
  const raw = Buffer.from('\0\0\0\x18ftypcrx \0\0\0\x01', 'latin1');
  const heic = Buffer.from('\0\0\0\x18ftypheic\0\0\0\0', 'latin1');
  write(folder, {
    ...Object.fromEntries(range(412).map((i) => [`card/IMG_${i}.CR3`, raw])), ...Object.fromEntries(range(30).map((i) => [`card/IMG_${i}.HEIC`, heic])),
    'card/good.jpg': photo(1), 'card/.DS_Store': Buffer.from('x'), 'card/DCIM/Thumbs.db': Buffer.from('x'),
  });
  const page = await open('#/');
  await page.locator('h1').waitFor();
  await drop(page, '.new-drop', [join(folder, 'card')]);
  await refused(page).getByText('442 files can’t be sent').waitFor();
  await refused(page).getByText('412 .CR3; 30 .HEIC. Only JPEG and PNG images can be sent.').waitFor();
  await button(page, 'Send 1').waitFor();
  await axe(page);
  await screenshot(page, 'new-refused-groups');
  await button(page, 'Dismiss').click();
  await refused(page).waitFor({ state: 'detached' });

  await drop(page, '.new-drop', write(folder, {
    'big.jpg': photo(2, (10 << 20) + 1), 'full.jpg': photo(3, 10 << 20), 'empty.png': Buffer.alloc(0), 'notes.txt': Buffer.from('hello'), 'letter.jpg': Buffer.from('Dear Anna'), 'phone.jpg': heic,
  }));
  await refused(page).getByText('5 files can’t be sent').waitFor();
  const text = await refused(page).textContent();
  for (const part of ['big.jpg has 10.000001 MB, the limit is 10 MB', 'empty.png is empty', 'notes.txt is not a JPEG or PNG', 'letter.jpg', 'phone.jpg']) assert.ok(text.includes(part), `${part} is not in ${text}`);
  await refused(page).getByText('Show the files').click();
  await refused(page).getByRole('listitem').filter({ hasText: 'phone.jpg is HEIC inside, not JPEG or PNG' }).waitFor();
  await axe(page);
  await screenshot(page, 'new-refused-each');
  assert.deepEqual(await names(page), ['good.jpg', 'full.jpg']);
});

scenario('hostile file names are texts', async (rig) => {
  const { open, axe, noSidewaysScroll, screenshot } = rig;
  const hostile = '"><img src=http:  example.com onerror=alert(1)><script>alert(2)<script>.jpg';
  const all = { [hostile]: photo(1), 'صورة من العطلة.png': tile(2), [`${'long'.repeat(60)}.png`]: tile(3), '\u202Egpj.exe.png': tile(4), '<b>notes.txt': Buffer.from('x') };
  const page = await open('#/', { width: 390, height: 844 });
  await page.locator('h1').waitFor();
  await drop(page, '.new-drop', write(rig.folder, all));
  await button(page, 'Send 4').waitFor();
  assert.deepEqual((await names(page)).sort(), Object.keys(all).slice(0, 4).sort());
  await refused(page).getByText('<b>notes.txt').waitFor();
  assert.equal(await page.locator('main script, main b, main [onerror]').count(), 0);
  for (const name of await page.locator('.new-name').all()) assert.equal(await name.evaluate((element) => element.tagName), 'BDI');
  await noSidewaysScroll(page);
  await axe(page);
  await screenshot(page, 'new-hostile-390');
  const job = await sent(page, rig, 4);
  assert.equal(job.completed, 4);
  const kept = Object.keys(all).slice(0, 4).map((name) => name.replace('"', '%22').replace('\u202E', '')); // a browser writes %22, the gateway drops what turns a text around
  assert.deepEqual(job.images.map((image) => image.original_filename).sort(), kept.sort());
  await noSidewaysScroll(page);
});

const focused = (page) => page.evaluate(() => document.activeElement.getAttribute('aria-label') || document.activeElement.labels?.[0]?.textContent.trim() || document.activeElement.textContent.trim());

// tabTo presses Tab until the element with the name has the focus.
async function tabTo(page, name, key = 'Tab') {
  for (let i = 0; i < 30; i++) {
    if (name.test(await focused(page))) return;
    await page.keyboard.press(key);
  }
  throw new Error(`no element ${name} gets the focus; the last one is ${await focused(page)}`);
}

scenario('with the keyboard only', async (rig) => {
  const { open, folder } = rig;
  const paths = write(folder, Object.fromEntries(range(5).map((i) => [`tile${i}.png`, tile(i)])));
  const page = await open('#/');
  await page.locator('h1').waitFor();
  await tabTo(page, /^Choose files$/);
  const [chooser] = await Promise.all([page.waitForEvent('filechooser'), page.keyboard.press('Enter')]);
  assert.ok(chooser.isMultiple());
  assert.equal(await chooser.element().getAttribute('accept'), 'image/jpeg,image/png'); // iPhones then convert HEIC
  await chooser.setFiles(paths);
  await button(page, 'Send 5').waitFor();
  await tabTo(page, /^tile1\.png/);
  await page.keyboard.press('Space');
  await page.getByText('4 of 5 selected').waitFor();
  await tabTo(page, /^Remove tile2\.png$/);
  await page.keyboard.press('Enter');
  await until(async () => (await focused(page)) === 'Remove tile3.png', 'the focus on the next image');
  await page.keyboard.press('Enter');
  await until(async () => (await focused(page)) === 'Remove tile4.png', 'the focus on the last image');
  await page.keyboard.press('Enter');
  await until(async () => (await focused(page)) === 'Remove tile1.png', 'the focus on the image before');
  await tabTo(page, /^Send 1$/);
  await page.keyboard.press('Enter');
  await until(() => /#\/jobs\/[\w-]{36}$/.test(page.url()), 'the job');
  await until(async () => (await focused(page)).startsWith('Job'), 'the focus on the heading of the job');
});

scenario('1,000 chosen images', async ({ open, folder, axe }) => {
  write(folder, Object.fromEntries(range(1000).map((i) => [`many/IMG_${i}.png`, tile(i)])));
  const page = await open('#/');
  await page.locator('h1').waitFor();
  await drop(page, '.new-drop', [join(folder, 'many')]);
  await button(page, 'Send 1,000').waitFor();
  const nodes = () => page.locator('main *').count();
  assert.ok(await nodes() < 1500, `the page has ${await nodes()} elements`);
  await page.getByLabel('1000 selected').or(page.getByLabel('All selected')).waitFor();
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
  await rows(page).filter({ hasText: 'IMG_999.png' }).waitFor();
  await drawn(page, 'IMG_999.png');
  assert.ok(await nodes() < 1500, `the page has ${await nodes()} elements after it was scrolled`);
  assert.equal(await rows(page).filter({ hasText: 'IMG_999.png' }).getAttribute('aria-posinset'), '1000');
  await axe(page, { within: '.new-send' });
});

scenario('390 pixels, dark', async ({ open, folder, axe, noSidewaysScroll, screenshot }) => {
  const page = await open('#/', { width: 390, height: 844, dark: true });
  await page.locator('h1').waitFor();
  await noSidewaysScroll(page);
  await axe(page);
  await screenshot(page, 'new-390-dark-empty');
  await drop(page, '.new-drop', write(folder, { 'IMG_1.jpg': photo(1, 4 << 20), 'a holiday at the sea with a long name.png': tile(1), 'notes.txt': Buffer.from('x') }));
  await button(page, 'Send 2').waitFor();
  await drawn(page, 'IMG_1.jpg');
  await noSidewaysScroll(page);
  await axe(page);
  await screenshot(page, 'new-390-dark');
});
