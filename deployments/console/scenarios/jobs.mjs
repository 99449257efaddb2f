// The list of jobs. Each scenario names its images after itself, because all share one system and its jobs.

import { withOrigin } from '../origin.mjs';
import { allScripts, assert, photo, scenario, tile, until } from '../rig.mjs';

const range = (n) => [...Array(n).keys()];
const button = (page, name) => page.getByRole('button', { name });
const chip = (page, name) => page.getByRole('navigation', { name: 'Filters' }).getByRole('link', { name });
const row = (page, id) => page.locator('.jobs-row').filter({ has: page.locator(`a[href="#/jobs/${id}"].jobs-open`) });
const search = (page) => page.getByRole('searchbox', { name: 'Search jobs' });
const selection = (page) => page.getByRole('region', { name: 'Selection' });
const shown = (page) => page.locator('.jobs-open').evaluateAll((links) => links.map((link) => link.hash.replace('#/jobs/', '')));
const hash = (page) => new URL(page.url()).hash;

// select ticks the boxes of jobs.
async function select(page, ids) {
  for (const id of ids) await page.getByRole('checkbox', { name: `Select job ${id.slice(0, 8)}` }).check();
}

const text = (name) => ({ name, data: Buffer.from('no picture') }); // fails at once

// created returns the IDs of n jobs whose only image fails, the newest first.
async function created({ submit, ended }, n, name, members) {
  const ids = [];
  for (const i of range(n)) ids.unshift(await submit([text(`${name}-${i}.jpg`)], members));
  for (const id of ids) await ended(id);
  return ids;
}

scenario('no jobs yet', { system: 'prefix' }, async ({ open, axe, screenshot, submit, ended }) => {
  const page = await open('#/jobs');
  await page.getByText('No jobs yet.').waitFor();
  await axe(page);
  await screenshot(page, 'jobs-none');
  assert.equal(await page.getByRole('link', { name: 'Send images' }).getAttribute('href'), '#/');
  const id = await submit([text('first.jpg')]);
  await ended(id);
  await row(page, id).getByText('failed').waitFor(); // without a click: nothing moves
});

scenario('filters and their counts', async (rig) => {
  const { open, submit, ended, api, axe, screenshot } = rig;
  const done = await submit([{ name: 'filters-1.png', data: tile(1) }], { metadata: { label: 'Holiday in the mountains', upload: 'filters' } });
  const part = await submit([{ name: 'filters-2.png', data: tile(2) }, text('filters-3.jpg'), text('filters-4.jpg')]);
  const failed = await submit([text('filters-5.jpg'), text('filters-6.jpg')]);
  for (const id of [done, part, failed]) await ended(id);
  const page = await open('#/jobs?q=filters-');
  await row(page, part).getByText('completed, 2 failed').waitFor();
  assert.match(await row(page, part).locator('.badge').getAttribute('class'), /tone-warn/);
  await row(page, failed).getByText('all 2 failed').waitFor();
  await row(page, done).getByText('completed', { exact: false }).waitFor();
  assert.equal(await row(page, done).getByRole('link', { name: 'Holiday in the mountains' }).count(), 1);
  assert.equal(await row(page, done).getByRole('link', { name: 'part of an upload' }).getAttribute('href'), '#/uploads/filters');
  assert.deepEqual(await shown(page), [failed, part, done]);
  await axe(page);
  await screenshot(page, 'jobs-filters');

  // The numbers are those of the gateway, for all jobs.
  assert.equal(await chip(page, /^Completed/).textContent(), 'Completed');
  await page.evaluate(() => { location.hash = '#/jobs'; });
  const words = { Waiting: 'pending', Processing: 'processing', Completed: 'completed', Failed: 'failed', Cancelled: 'cancelled', 'With failed images': 'failed_images' };
  await until(async () => {
    const counts = await api('GET', 'api/v1/counts');
    for (const [word, name] of Object.entries(words)) assert.equal(await chip(page, new RegExp(`^${word}`)).textContent(), `${word} ${counts[name]}`);
    return true;
  }, 'the counts');
  await page.goBack();
  await until(async () => (await shown(page)).join() === [failed, part, done].join(), 'the search after Back');

  await chip(page, /^Completed/).click();
  await until(async () => (await shown(page)).join() === [part, done].join(), 'the completed jobs');
  assert.equal(hash(page), '#/jobs?q=filters-&status=completed');
  assert.equal(await chip(page, /^Completed/).getAttribute('aria-current'), 'true');
  await page.getByRole('status').filter({ hasText: '2 jobs' }).waitFor({ state: 'attached' });
  await chip(page, /^With failed/).click();
  await until(async () => (await shown(page)).join() === [failed, part].join(), 'the jobs with failed images');
  assert.equal(hash(page), '#/jobs?q=filters-&failed_images=true');
  await page.getByRole('combobox', { name: 'Order' }).selectOption('Oldest first');
  await until(async () => (await shown(page)).join() === [part, failed].join(), 'the oldest first');
  await page.reload();
  await until(async () => (await shown(page)).join() === [part, failed].join(), 'the filters of the address');
  await page.goBack();
  await until(async () => (await shown(page)).join() === [part, done].join(), 'the completed jobs after Back');
  await page.goto(page.url().replace(/#.*/, '#/jobs?status=cancelled&q=filters-'));
  await page.getByText('No job matches “filters-” with these filters.').waitFor();
  await axe(page);
  await screenshot(page, 'jobs-no-match');
  await page.getByRole('link', { name: 'Clear the filters' }).click();
  await row(page, done).waitFor();
  assert.equal(hash(page), '#/jobs');
});

scenario('further filters of an address can be removed', async (rig) => {
  const [retried] = await created(rig, 1, 'further', { metadata: { upload: 'further' } });
  const page = await rig.open('#/jobs?upload=further&status=failed,cancelled');
  await row(page, retried).waitFor();
  assert.equal((await shown(page)).length, 1);
  await page.getByRole('link', { name: 'State: failed,cancelled' }).click();
  await until(() => hash(page) === '#/jobs?upload=further');
  await page.getByRole('link', { name: 'Upload: further' }).click();
  await until(() => hash(page) === '#/jobs');
  rig.allow(/status of 400/);
  await page.goto(page.url().replace(/#.*/, '#/jobs?status=done'));
  await page.locator('main').getByText('status must be one or more of').waitFor();
  await page.getByRole('link', { name: 'Clear the filters' }).click();
  await row(page, retried).waitFor();
});

scenario('search by name and by ID', async (rig) => {
  const { open, screenshot } = rig;
  const [b, a] = await created(rig, 2, 'Search-Åre');
  const page = await open('#/jobs');
  await page.locator('.jobs-row').first().waitFor();
  await page.keyboard.press('/');
  assert.equal(await search(page).evaluate((field) => field === document.activeElement), true);
  await page.keyboard.type('search-a\u030aRE'); // another case, and the ring as a character of its own
  await until(async () => (await shown(page)).join() === [b, a].join(), 'the jobs with the name');
  await search(page).fill('åre-1');
  await until(async () => (await shown(page)).join() === b, 'the job with the name');
  assert.equal(hash(page), `#/jobs?q=${encodeURIComponent('åre-1')}`);
  assert.equal(await search(page).evaluate((field) => field === document.activeElement), true); // one can go on typing
  await search(page).fill('search-<b>/');
  await page.getByText('No job matches “search-<b>/”.').waitFor();
  await search(page).fill(a.slice(0, 9));
  await until(async () => (await shown(page)).join() === a, 'the job with the ID');
  await screenshot(page, 'jobs-search');
  await search(page).fill('');
  await until(async () => (await shown(page)).length > 1, 'all jobs');
  await search(page).fill(` ${b.toUpperCase()} `);
  await page.getByRole('heading', { name: `Job ${b.slice(0, 8)}` }).waitFor();
  assert.equal(hash(page), `#/jobs/${b}`);
  await page.goBack();
  await page.getByRole('heading', { name: 'Jobs' }).waitFor();
});

scenario('more than 100 jobs', { limit: 360 }, async (rig) => {
  const { open, submit, ended, screenshot } = rig;
  const ids = [];
  for (let i = 0; i < 120; i += 20) ids.push(...await Promise.all(range(20).map((n) => submit([text(`paging-${i + n}.jpg`)]))));
  for (const id of ids) await ended(id);
  const page = await open('#/jobs?q=paging-');
  await until(async () => (await shown(page)).length === 50, 'the first page');
  await button(page, 'Show more').waitFor(); // for whoever does not scroll
  await page.getByText(/^Searched up to .*2\d{3}/).waitFor();
  await page.keyboard.press('End'); // what comes into view is loaded
  await until(async () => (await shown(page)).length === 100, 'the second page');
  await screenshot(page, 'jobs-100');
  await page.evaluate(() => scrollTo(0, 0));
  await page.keyboard.press('End');
  await until(async () => (await shown(page)).length === 120, 'the third page');
  assert.equal(await button(page, 'Show more').count(), 0);
  assert.deepEqual(new Set(await shown(page)), new Set(ids));
});

scenario('pages without a job', async ({ open, screenshot }) => {
  const page = await open('#/');
  const tokens = [];
  // A gateway examines 2,000 jobs for a page, more than a test can create.
  const token = (year) => { const bytes = Buffer.alloc(52, 'x'); bytes.writeBigInt64BE(BigInt(Date.UTC(year, 5, 15, 10)) * 1_000_000n); return bytes.toString('base64url'); };
  let found = [];
  await page.route('**/api/v1/batch?*', (route) => {
    tokens.push(new URL(route.request().url()).searchParams.get('page_token'));
    route.fulfill({ json: { jobs: found.splice(0), next_page_token: token(tokens.length > 10 ? 2023 : 2024) } });
  });
  await page.evaluate(() => { location.hash = '#/jobs?q=rare'; });
  await page.getByText('No job found yet: searched up to Jun 15, 2024').waitFor();
  assert.equal(tokens.length, 10); // bounded
  assert.equal(await page.getByText('No job matches').count(), 0);
  await screenshot(page, 'jobs-empty-pages');
  found = [{ job_id: '4660c984-e29b-41d4-a716-446655440000', status: 'completed', total_images: 1, completed: 1, failed: 0, created_at: '2024-01-01T00:00:00Z', updated_at: '2024-01-01T00:00:00Z' }];
  await button(page, 'Search further').click();
  await page.getByText('Searched up to Jun 15, 2023').waitFor();
  assert.equal((await shown(page)).length, 1);
  assert.equal(tokens[10], token(2024));
});

scenario('jobs change and arrive live', async (rig) => withOrigin(async (origin) => {
  const { open, submit, screenshot, axe } = rig;
  const old = await created(rig, 30, 'live');
  const id = await submit([{ url: origin.url(0) }, { url: origin.url(1) }], { metadata: { label: 'live links', upload: 'live' } });
  const page = await open('#/jobs');
  await row(page, id).getByText('2 open').waitFor();
  await page.evaluate(() => scrollTo(0, 300));
  const top = () => row(page, old[10]).evaluate((element) => element.getBoundingClientRect().top);
  const before = await top();
  await origin.release(0, photo());
  await row(page, id).getByText('1 done, 1 open').waitFor();
  const added = await created(rig, 3, 'live-new');
  await button(page, '3 new jobs').waitFor();
  await page.getByRole('status').filter({ hasText: '3 new jobs' }).waitFor({ state: 'attached' });
  assert.equal((await shown(page))[0], id);
  assert.ok(Math.abs(await top() - before) <= 60, `the row has moved by ${await top() - before} pixels`);
  await axe(page);
  await screenshot(page, 'jobs-new');
  await button(page, '3 new jobs').click();
  await until(async () => (await shown(page)).slice(0, 4).join() === [...added, id].join(), 'the new jobs on top');
  assert.equal(await button(page, /new job/).count(), 0);

  // A job that leaves the filter stays where it is, in its present state.
  await chip(page, /^Processing/).click();
  await until(async () => (await shown(page)).join() === id, 'the open job');
  await origin.release(1, 404);
  await row(page, id).getByText('completed, 1 failed').waitFor();
}));

scenario('updates can be paused', async (rig) => withOrigin(async (origin) => {
  const { open, submit } = rig;
  const id = await submit([{ url: origin.url(0) }, { url: origin.url(1) }]);
  const page = await open('#/jobs');
  await row(page, id).getByText('2 open').waitFor();
  const pause = button(page, 'Pause updates');
  await pause.click();
  assert.equal(await pause.getAttribute('aria-pressed'), 'true');
  let lists = 0;
  page.on('request', (request) => { if (new URL(request.url()).pathname === '/api/v1/batch') lists++; });
  await origin.release(0, photo());
  await until(async () => (await rig.api('GET', `api/v1/batch/${id}`)).completed === 1, 'the first image');
  await page.waitForResponse((response) => response.url().includes('/api/v1/counts')); // 10 s, in which the list would be read
  assert.equal(lists, 0);
  await row(page, id).getByText('2 open').waitFor();
  await page.reload();
  assert.equal(await pause.getAttribute('aria-pressed'), 'true');
  await row(page, id).getByText('1 done, 1 open').waitFor();
  await pause.click();
  await origin.release(1, photo(1));
  await row(page, id).getByText('completed').waitFor();
}));

scenario('several jobs are cancelled', async ({ open, submit, ended, axe, screenshot, allow }) => withOrigin(async (origin) => {
  allow(/status of 409/);
  const ids = [];
  for (const i of range(3)) ids.unshift(await submit([{ url: origin.url(i) }], { metadata: { label: `cancel ${i}`, upload: 'bulk-cancel' } }));
  const page = await open('#/jobs?upload=bulk-cancel');
  await button(page, 'Pause updates').click(); // so that the page does not know that one ends
  await page.getByRole('checkbox', { name: 'Select all 3 shown' }).check();
  await selection(page).getByText('3 jobs selected').waitFor();
  await axe(page);
  await screenshot(page, 'jobs-selected');
  await origin.release(2, photo());
  await ended(ids[0]);
  await button(page, 'Cancel 3 open…').click();
  const dialog = page.getByRole('dialog', { name: 'Cancel 3 jobs?' });
  await dialog.getByText('3 images will not be processed').waitFor();
  await button(dialog, 'Let them run').click();
  await selection(page).getByText('3 jobs selected').waitFor();
  await button(page, 'Cancel 3 open…').click();
  await button(dialog, 'Cancel 3 jobs').click();
  await page.locator('main').getByText('2 jobs cancelled, 1 job had ended in the meantime.').waitFor();
  await screenshot(page, 'jobs-cancelled');
  assert.deepEqual((await Promise.all(ids.map(ended))).map((job) => job.status), ['completed', 'cancelled', 'cancelled']);
  await row(page, ids[1]).getByText('cancelled').waitFor();
  assert.equal(await selection(page).count(), 0);
}));

scenario('failed jobs are retried, at most four at a time', async ({ open, submit, ended, axe, screenshot, allow, api }) => withOrigin(async (origin) => {
  allow(/status of (400|500)/);
  const ids = [];
  for (const i of range(5)) ids.push(await submit([{ url: origin.url(i) }], { metadata: { upload: 'bulk-retry' } }));
  for (const i of range(5)) await origin.release(i, 404);
  ids.push(await submit([text('never stored.jpg')], { metadata: { upload: 'bulk-retry' } })); // cannot be retried
  const good = await submit([{ name: 'good.png', data: tile() }], { metadata: { upload: 'bulk-retry' } });
  for (const id of [...ids, good]) await ended(id);
  const page = await open('#/jobs?upload=bulk-retry');
  let now = 0;
  let most = 0;
  let broken = true;
  await page.route('**/retry', async (route) => {
    most = Math.max(most, ++now);
    await until(() => most === 4 || now < 4);
    if (broken && route.request().url().includes(ids[0])) await route.fulfill({ status: 500, json: { error: 'Internal server error', status: 500 } });
    else await route.continue();
    now--;
  });
  await page.getByRole('checkbox', { name: 'Select all 7 shown' }).check();
  await button(page, 'Retry 6 with failed images…').click();
  const dialog = page.getByRole('dialog', { name: 'Retry the failed images of 6 jobs?' });
  await axe(page);
  await button(dialog, 'Retry 6 jobs').click();
  await button(selection(page), 'Stop').waitFor();
  await page.locator('main').getByText('4 new jobs made, 1 job left out: the gateway has no file of the failed images, so send them again, 1 job failed.').waitFor();
  await page.getByRole('listitem').filter({ hasText: 'Internal server error' }).getByRole('link', { name: ids[0].slice(0, 8) }).waitFor();
  assert.equal(most, 4);
  await axe(page);
  await screenshot(page, 'jobs-retried');
  await button(page, '4 new jobs').waitFor();

  broken = false;
  await selection(page).getByText('1 job selected').waitFor(); // what has failed
  await button(page, 'Retry 1 with failed images…').click();
  await button(page, 'Retry 1 job').click();
  await page.locator('main').getByText('1 new job made.').waitFor();
  const { jobs } = await api('GET', 'api/v1/batch?upload=bulk-retry&view=summary');
  assert.equal(jobs.filter((job) => job.retry_of).length, 5);
  await button(page, '5 new jobs').click();
  await page.getByText(`made from job ${ids[0].slice(0, 8)}`).waitFor();
}));

scenario('anna sees only her jobs, the operator those of a key', { system: 'keys' }, async (rig) => {
  const { open, key, operatorKey, screenshot } = rig;
  const [hers] = await created(rig, 1, 'anna');
  const own = await rig.submit([text('ops.jpg')], { key: operatorKey });
  await rig.ended(own, { key: operatorKey });
  const anna = await open('#/jobs', { key });
  await row(anna, hers).waitFor();
  assert.equal((await shown(anna)).includes(own), false);
  assert.equal(await anna.getByRole('textbox', { name: 'Name of an API key' }).count(), 0);
  const ops = await open('#/jobs', { key: operatorKey });
  await row(ops, hers).waitFor();
  await row(ops, own).waitFor();
  const field = ops.getByRole('textbox', { name: 'Name of an API key' });
  await field.fill('anna');
  await field.press('Enter');
  await until(async () => !(await shown(ops)).includes(own), 'the jobs of anna');
  assert.equal(hash(ops), '#/jobs?owner=anna');
  await row(ops, hers).waitFor();
  await screenshot(ops, 'jobs-owner');
  await ops.getByRole('link', { name: 'Owner: anna' }).click();
  await row(ops, own).waitFor();
});

scenario('rows are links, and boxes take Shift', async (rig) => {
  const ids = await created(rig, 5, 'keyboard', { metadata: { upload: 'keyboard' } });
  const page = await rig.open('#/jobs?upload=keyboard');
  await select(page, [ids[1]]);
  await page.getByRole('checkbox', { name: `Select job ${ids[3].slice(0, 8)}` }).click({ modifiers: ['Shift'] });
  await selection(page).getByText('3 jobs selected').waitFor();
  await button(page, 'Clear').click();
  await row(page, ids[0]).click({ position: { x: 700, y: 24 } }); // not only the text of the link
  await page.getByRole('heading', { name: `Job ${ids[0].slice(0, 8)}` }).waitFor();
  await page.goBack();
  await page.getByRole('link', { name: `Job ${ids[2].slice(0, 8)}` }).focus();
  await page.keyboard.press('Shift+Tab');
  await page.keyboard.press('Tab'); // a focus that shows, which that of a script does not
  assert.equal(await row(page, ids[2]).evaluate((element) => getComputedStyle(element).outlineStyle), 'solid');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: `Job ${ids[2].slice(0, 8)}` }).waitFor();
});

scenario('390 pixels, dark', async (rig) => withOrigin(async (origin) => {
  const { open, submit, ended, axe, noSidewaysScroll, screenshot } = rig;
  const label = 'A folder with a long name that does not fit into one line of a narrow page and/then some';
  const part = await submit([{ name: 'narrow.png', data: tile(7) }, text('narrow.jpg')], { metadata: { upload: 'narrow', label } });
  await ended(part);
  const id = await submit([{ url: origin.url(0) }], { metadata: { upload: 'narrow', label: 'صورة من العطلة.png' } });
  const page = await open('#/jobs?upload=narrow', { width: 390, height: 844, dark: true });
  await row(page, id).getByText('1 open').waitFor();
  await noSidewaysScroll(page);
  await axe(page);
  await screenshot(page, 'jobs-390-dark');
  await select(page, [id, part]);
  await noSidewaysScroll(page);
  await axe(page);
  await screenshot(page, 'jobs-390-selected');
}));

scenario('the list says when it cannot be read, and continues', async ({ open, control, allow, submit, ended }) => {
  allow(/status of 502/);
  const id = await submit([text('again.jpg')]);
  await ended(id);
  const page = await open('#/');
  await page.getByRole('heading').first().waitFor();
  await allScripts(page);
  await control.set({ bad_gateway: true });
  await page.getByRole('link', { name: /^Jobs/ }).click();
  await page.locator('main').getByText('The list could not be read').waitFor();
  await control.set({});
  await row(page, id).waitFor({ timeout: 30_000 });
  assert.equal(await page.locator('main').getByText('The list could not be read').count(), 0);
});
