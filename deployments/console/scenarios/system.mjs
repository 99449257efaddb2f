// The screen for operators.

import { withOrigin } from '../origin.mjs';
import { assert, photo, scenario, until } from '../rig.mjs';

const range = (n) => [...Array(n).keys()];
const button = (page, name) => page.getByRole('button', { name });
const queue = (page, name) => page.getByRole('table').getByRole('row').filter({ hasText: name });
const cells = (page, name) => queue(page, name).getByRole('cell').allTextContents();
const letter = (page, name) => page.getByRole('list', { name: 'Dead letters' }).getByRole('listitem').filter({ has: page.getByRole('link', { name }) });

// altered opens the screen with what change makes of the gateway's response. The outage of a server of one's own takes longer.
async function altered(page, change) {
  await page.route('**/api/v1/system', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: change(await response.json()) });
  });
}

scenario('everything works', async ({ open, axe, screenshot, api }) => {
  const page = await open('#/system');
  const { version, go } = await api('GET', 'api/v1/system');
  await page.getByText(`Imagebatch ${version}`).waitFor();
  await page.getByText(go, { exact: true }).waitFor();
  await page.getByText(/^running for \d+/).waitFor();
  for (const name of ['broker', 'job store', 'store of originals']) await page.getByRole('listitem').filter({ hasText: name }).getByText('✓ ready', { exact: true }).waitFor();
  assert.deepEqual(await cells(page, 'image_upload'), ['✓ empty', '0', '1', '0', '0', '0']);
  await page.getByText('No dead letters.').waitFor();
  assert.equal(await page.getByRole('link', { name: /Grafana|RabbitMQ/ }).count(), 0); // they are not configured
  await axe(page);
  await screenshot(page, 'system');
});

scenario('it is updated every few seconds', async ({ open, submit }) => withOrigin(async (origin) => {
  const page = await open('#/system');
  const work = (name) => page.locator('dt', { hasText: name }).locator('+ dd');
  await work('Open images').getByText('0', { exact: true }).waitFor();
  await work('Oldest open job').getByText('none').waitFor();
  await page.getByText(/^updated [1-4] s ago$/).waitFor();
  await submit([{ url: origin.url(0) }, { url: origin.url(1) }]);
  await work('Open images').getByText('2', { exact: true }).waitFor();
  await work('Oldest open job').getByText('just now').waitFor();
  await page.getByText('updated now').waitFor();
  await Promise.all([origin.release(0, photo()), origin.release(1, photo(1))]);
  await work('Open images').getByText('0', { exact: true }).waitFor();
}));

scenario('a broker that does not respond', async ({ open, axe, screenshot, noSidewaysScroll }) => {
  const page = await open('#/');
  let down = true;
  await altered(page, (system) => (down ? {
    ...system, queues: system.queues.map(({ name }) => ({ name })), work: undefined,
    dependencies: system.dependencies.map((each) => (each.name === 'broker' ? { name: 'broker', ready: false, reason: 'rabbitmq: dial tcp 10.0.0.7:5672: connect: connection refused' } : each)),
  } : system));
  await page.evaluate(() => { location.hash = '#/system'; });
  const broker = page.getByRole('listitem').filter({ hasText: 'broker' });
  await broker.getByText('not ready').waitFor();
  await broker.getByText('connection refused').waitFor();
  // Unknown is not 0.
  assert.deepEqual(await cells(page, 'image_upload'), ['○ unknown', 'unknown', 'unknown', 'unknown', 'unknown', 'unknown']);
  await page.getByText('because the job store does not respond').waitFor();
  await axe(page);
  await screenshot(page, 'system-down');
  await page.setViewportSize({ width: 390, height: 844 });
  await noSidewaysScroll(page);
  down = false;
  await broker.getByText('✓ ready', { exact: true }).waitFor();
  await page.getByRole('status').filter({ hasText: 'All dependencies are ready' }).waitFor({ state: 'attached' });
  assert.deepEqual(await cells(page, 'image_upload'), ['✓ empty', '0', '1', '0', '0', '0']);
});

scenario('a queue that nobody reads, links, 390 pixels, dark', async ({ open, axe, screenshot, noSidewaysScroll }) => {
  const page = await open('#/', { width: 390, height: 844, dark: true });
  await altered(page, (system) => ({
    ...system, links: { grafana: 'http://grafana.example/d/1', rabbitmq: 'javascript:alert(1)' },
    queues: system.queues.map((each) => (each.name === 'image_upload' ? { ...each, messages: 12345, consumers: 0, retry: 3, quarantine: 1 } : each)),
  }));
  await page.evaluate(() => { location.hash = '#/system'; });
  await queue(page, 'image_upload').getByText('nobody reads').waitFor();
  assert.match(await queue(page, 'image_upload').locator('.badge').getAttribute('class'), /tone-warn/);
  assert.deepEqual(await cells(page, 'image_upload'), ['⚠ nobody reads', '12,345', '0', '3', '1', '0']);
  for (const name of ['Waiting', 'Readers', 'Dead']) await page.getByRole('columnheader', { name }).waitFor({ state: 'attached' });
  const link = page.getByRole('link', { name: 'Grafana' });
  assert.deepEqual(await link.evaluate((a) => [a.href, a.rel]), ['http://grafana.example/d/1', 'noreferrer']);
  assert.equal(await page.getByRole('link', { name: 'RabbitMQ' }).count(), 0); // no script becomes a link
  await noSidewaysScroll(page);
  await axe(page);
  await screenshot(page, 'system-390-dark', { fullPage: true });
});

scenario('only for operators', { system: 'keys' }, async ({ open, key, operatorKey, axe, screenshot }) => {
  const requests = [];
  const anna = await open('#/system', { key });
  anna.on('request', (request) => requests.push(request.url()));
  await anna.getByText('Only operators see the state of the system.').waitFor();
  await anna.getByText('The key of anna is not an operator').waitFor();
  await axe(anna);
  await screenshot(anna, 'system-refused');
  assert.deepEqual(requests.filter((url) => /system|dead-letters/.test(new URL(url).pathname)), []);
  await button(anna, 'Use another key').click();
  const dialog = anna.getByRole('dialog', { name: 'API key' });
  await dialog.getByRole('textbox', { name: 'API key' }).fill(operatorKey);
  await button(dialog, 'Use key').click();
  await anna.getByRole('heading', { name: 'Queues' }).waitFor();
  await anna.getByText('No dead letters.').waitFor();
});

scenario('the state gets old without a gateway', async ({ open, control, allow }) => {
  allow(/net::ERR_/);
  const page = await open('#/system');
  await page.getByRole('heading', { name: 'Queues' }).waitFor();
  await control.kill();
  const note = page.locator('.note').filter({ hasText: 'The state could not be updated' });
  await note.waitFor();
  await queue(page, 'image_upload').waitFor(); // what was known stays
  await control.start();
  await note.waitFor({ state: 'detached', timeout: 30_000 });
});

scenario('dead letters are replayed and discarded', { system: 'gateways', limit: 360 }, async ({ open, submit, ended, control, axe, screenshot, allow, noSidewaysScroll, api }) => withOrigin(async (origin) => {
  allow(/status of 409/);
  const failed = [];
  for (const i of range(3)) failed.push(await submit([{ url: origin.url(i) }]));
  for (const i of range(3)) await origin.release(i, 404);
  for (const id of failed) await ended(id);
  const page = await open('#/system');
  await page.getByRole('heading', { name: 'Dead letters' }).waitFor();
  for (const [i, id] of failed.entries()) await control.bury({ job_id: id, index: 0, name: `dead${i}.jpg` });
  await control.bury({ job_id: failed[2], index: 0, name: 'dead2.jpg' }); // twice
  for (const i of range(3)) await letter(page, `dead${i}.jpg`).waitFor(); // by themselves
  await letter(page, 'dead0.jpg').getByText('failed 5 times').waitFor();
  await letter(page, 'dead0.jpg').getByText('image_upload').waitFor();
  await letter(page, 'dead2.jpg').getByText('2 dead letters').waitFor();
  assert.equal(await letter(page, 'dead0.jpg').getByRole('link', { name: 'dead0.jpg' }).getAttribute('href'), `#/jobs/${failed[0]}/0`);
  assert.equal(await letter(page, 'dead0.jpg').getByRole('link', { name: failed[0].slice(0, 8) }).getAttribute('href'), `#/jobs/${failed[0]}`);
  await queue(page, 'image_upload').getByText(/dead letters$/).waitFor();
  await axe(page);
  await screenshot(page, 'system-dead', { fullPage: true });
  await page.setViewportSize({ width: 390, height: 844 });
  await noSidewaysScroll(page);
  await page.getByRole('heading', { name: 'Dead letters' }).scrollIntoViewIfNeeded();
  await screenshot(page, 'system-dead-390', { fullPage: true });
  await page.setViewportSize({ width: 1280, height: 900 });

  // Another operator reads the queue: the first answer is the gateway's for that.
  await page.route('**/replay', (route) => route.fulfill({ status: 409, headers: { 'Retry-After': '2' }, json: { error: 'Dead letters are being read, try again later', status: 409 } }), { times: 1 });
  await button(page, 'Replay dead0.jpg').click();
  const question = page.getByRole('dialog', { name: 'Replay this dead letter?' });
  await axe(page);
  await button(question, 'Cancel').click();
  await letter(page, 'dead0.jpg').waitFor();
  await button(page, 'Replay dead0.jpg').click();
  await button(question, 'Replay').click();
  await page.locator('main').getByText('Another operator, or the command gateway dead-letters, reads this queue at the moment. Try again in 2 s.').waitFor();
  await button(page, 'Try again').click();
  await page.locator('main').getByText('Replayed: a new job retries the failed images.').waitFor();
  await letter(page, 'dead0.jpg').waitFor({ state: 'detached' });
  await origin.release(0, photo());
  const { jobs } = await api('GET', `api/v1/batch?retry_of=${failed[0]}`);
  assert.equal(jobs.length, 1);
  await screenshot(page, 'system-replayed');
  assert.equal(await page.getByRole('link', { name: 'Show the new job' }).getAttribute('href'), `#/jobs/${jobs[0].job_id}`);
  assert.equal((await ended(jobs[0].job_id)).completed, 1);

  await button(page, 'Discard dead1.jpg').click();
  await button(page.getByRole('dialog', { name: 'Discard this dead letter?' }), 'Discard').click();
  await page.locator('main').getByText('Discarded.').waitFor();
  await letter(page, 'dead1.jpg').waitFor({ state: 'detached' });
  assert.equal((await api('GET', `api/v1/batch?retry_of=${failed[1]}`)).jobs.length, 0);
  await letter(page, 'dead2.jpg').waitFor();
  await button(page, 'Discard dead2.jpg').click();
  await button(page.getByRole('dialog', { name: 'Discard this dead letter?' }), 'Discard').click();
  await letter(page, 'dead2.jpg').waitFor({ state: 'detached' });
  await until(async () => !(await api('GET', 'api/v1/dead-letters')).dead_letters.some((each) => failed.includes(each.job_id)), 'the end of the dead letters');
}));

scenario('a dead letter that cannot be replayed', { system: 'gateways' }, async ({ open, submit, control, api, allow, axe, screenshot }) => withOrigin(async (origin) => {
  allow(/status of 409/);
  const id = await submit([{ url: origin.url(5) }]);
  await api('POST', `api/v1/batch/${id}/cancel`);
  await control.bury({ job_id: id, index: 0, name: 'cancelled.jpg' });
  const page = await open('#/system');
  await button(page, 'Replay cancelled.jpg').click();
  await button(page.getByRole('dialog', { name: 'Replay this dead letter?' }), 'Replay').click();
  await page.locator('main').getByText('Dead letter stays: its job was cancelled', { exact: true }).waitFor();
  await page.locator('main').getByText('Discard it if it has no use any more').waitFor();
  await axe(page);
  await screenshot(page, 'system-left');
  await letter(page, 'cancelled.jpg').waitFor();
  await button(page, 'Discard cancelled.jpg').click();
  await button(page.getByRole('dialog', { name: 'Discard this dead letter?' }), 'Discard').click();
  await letter(page, 'cancelled.jpg').waitFor({ state: 'detached' });
}));
