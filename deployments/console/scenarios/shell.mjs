// What surrounds the screens: the header, the key, the theme, the connection, the keyboard, and where the console is served.

import { assert, photo, scenario, tile, until } from '../rig.mjs';

const longName = `${'a-very-long-file-name-without-any-space-'.repeat(4)}.jpg`;
const rightToLeftName = 'صورة من العطلة.png';

// routes returns an address of each screen. Their job has an image of each kind.
async function routes({ submit, ended }) {
  const id = await submit([
    { name: 'sunrise.jpg', data: photo() }, { name: longName, data: photo(1) }, { name: rightToLeftName, data: tile(1) },
    { name: 'broken.png', data: tile(2).subarray(0, 60) },
  ]);
  const job = await ended(id);
  assert.deepEqual([job.completed, job.failed], [3, 1]);
  return ['#/', '#/jobs', '#/jobs?status=failed', `#/jobs/${id}`, `#/jobs/${id}/0`, `#/jobs/${id}/3`, '#/uploads/none', '#/system', '#/nowhere'];
}

// shown waits until a screen shows what it is about, and the scripts of the other screens are loaded.
async function shown(page) {
  await page.locator('main h1').waitFor();
  await page.waitForLoadState('networkidle');
  await page.locator('main [aria-busy=true]').waitFor({ state: 'detached' }); // a list that is of another filter still is pale
}

// visit calls act on each screen, in one page.
async function visit(rig, page, act) {
  for (const route of await routes(rig)) {
    await page.evaluate((hash) => { location.hash = hash; }, route);
    await shown(page);
    await act(route).catch((error) => { throw new Error(`${route}: ${error.message}`, { cause: error }); });
  }
}

const keyDialog = (page) => page.getByRole('dialog', { name: 'API key' });

scenario('wrong key then right key', { system: 'keys' }, async ({ open, axe, key, allow, screenshot }) => {
  allow(/status of 401/);
  const page = await open('#/jobs');
  const dialog = keyDialog(page);
  await dialog.getByText('This gateway requires an API key').waitFor();
  const field = dialog.getByRole('textbox', { name: 'API key' });
  await until(() => field.evaluate((e) => e === document.activeElement), 'the focus in the field');
  await axe(page);

  await field.fill(`ib_${'x'.repeat(43)}`);
  await field.press('Enter');
  await dialog.getByText('The gateway does not know this key').waitFor();
  await screenshot(page, 'shell-wrong-key');
  await axe(page);
  await field.fill('two words');
  await field.press('Enter');
  await dialog.getByText('A key has no spaces').waitFor();

  await field.fill(` ${key}\n`);
  await field.press('Enter');
  await dialog.waitFor({ state: 'detached' });
  await page.getByRole('button', { name: /^key: anna$/ }).waitFor();
  await page.getByText('No jobs yet').waitFor(); // the request that needed the key continues
  await page.reload();
  await page.getByRole('button', { name: /^key: anna$/ }).waitFor();
  await page.getByText('No jobs yet').waitFor();
  assert.equal(await dialog.count(), 0);

  const tab = await page.context().newPage();
  await tab.goto(page.url());
  await keyDialog(tab).waitFor(); // the key belongs to the first tab
});

scenario('a key that this device remembers', { system: 'keys' }, async ({ open, key, allow }) => {
  allow(/status of 401/);
  const page = await open('#/jobs');
  await keyDialog(page).getByRole('textbox', { name: 'API key' }).fill(key);
  await keyDialog(page).getByLabel('Remember on this device').check();
  await keyDialog(page).getByRole('button', { name: 'Use key' }).click();
  await keyDialog(page).waitFor({ state: 'detached' });
  const tab = await page.context().newPage();
  await tab.goto(page.url());
  await tab.getByRole('button', { name: /^key: anna$/ }).click();
  await keyDialog(tab).getByRole('button', { name: 'Forget the key' }).click();
  await tab.getByRole('button', { name: 'Enter key' }).waitFor();
  await tab.reload();
  await keyDialog(tab).waitFor();
});

scenario('the operator sees the system, anna does not', { system: 'keys' }, async ({ open, key, operatorKey }) => {
  const anna = await open('#/', { key });
  await anna.getByRole('button', { name: /^key: anna$/ }).waitFor();
  assert.equal(await anna.getByRole('link', { name: 'System' }).count(), 0);
  const ops = await open('#/', { key: operatorKey });
  await ops.getByRole('button', { name: /^key: ops$/ }).waitFor();
  await ops.getByRole('link', { name: 'System' }).waitFor();
});

scenario('a dialog without a key', { system: 'keys' }, async ({ open, allow }) => {
  allow(/status of 401/);
  const page = await open('#/jobs');
  await page.locator('h1').waitFor();
  await keyDialog(page).waitFor();
  await shown(page); // Each request that needs a key opens the dialog, also those of a screen that is loaded later.
  await page.keyboard.press('Escape');
  await keyDialog(page).waitFor({ state: 'detached' });
  await page.locator('main').getByRole('button', { name: 'Enter API key' }).click();
  await keyDialog(page).waitFor();
});

scenario('offline and back', async ({ open, offline, axe, allow, screenshot }) => {
  allow(/net::ERR_/);
  const page = await open('#/jobs');
  await shown(page);
  const banner = page.getByText('No connection to the gateway.');
  await offline(page);
  await banner.waitFor();
  await page.getByRole('status').filter({ hasText: 'No connection' }).waitFor();
  await axe(page);
  await screenshot(page, 'shell-offline');
  await offline(page, false);
  await banner.waitFor({ state: 'detached' });
  await page.getByRole('status').filter({ hasText: 'Connected' }).waitFor();
});

scenario('a gateway that is killed and comes back', async ({ open, control, allow }) => {
  allow(/net::ERR_/);
  const page = await open('#/jobs'); // the page's own files must be loaded when the gateway is gone
  await page.getByRole('heading', { name: 'Jobs', exact: true }).waitFor();
  await page.getByRole('link', { name: 'New' }).click();
  await shown(page);
  await control.kill();
  await page.getByRole('link', { name: /^Jobs/ }).click();
  await page.getByText('No connection to the gateway.').waitFor();
  await page.locator('main').getByText('No answer from the gateway').waitFor();
  await control.start();
  await page.getByText('No connection to the gateway.').waitFor({ state: 'detached', timeout: 30_000 });
});

scenario('a proxy that does not reach its gateway', async ({ open, control, allow }) => {
  allow(/status of 502/);
  const page = await open('#/');
  await shown(page);
  await control.set({ bad_gateway: true });
  await page.getByRole('link', { name: /^Jobs/ }).click();
  await page.getByText('No connection to the gateway.').waitFor();
  await control.set({});
  await page.getByText('No connection to the gateway.').waitFor({ state: 'detached', timeout: 30_000 });
});

const background = (page) => page.evaluate(() => {
  const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g).map(Number);
  return r + g + b < 3 * 128 ? 'dark' : 'light';
});

scenario('the theme', async ({ open, axe, screenshot }) => {
  const page = await open('#/');
  await shown(page);
  const button = page.getByRole('button', { name: /^Theme/ });
  const choose = async (theme) => {
    await button.click();
    await page.getByRole('button', { name: `Theme: ${theme}` }).waitFor();
  };
  assert.equal(await background(page), 'light');
  await page.emulateMedia({ colorScheme: 'dark' });
  assert.equal(await background(page), 'dark');
  await choose('light');
  assert.equal(await background(page), 'light');
  await page.emulateMedia({ colorScheme: 'light' });
  await choose('dark');
  assert.equal(await background(page), 'dark');
  await axe(page);
  await screenshot(page, 'shell-dark');
  await page.reload();
  await page.getByRole('button', { name: 'Theme: dark' }).waitFor();
  assert.equal(await background(page), 'dark');
  const tab = await page.context().newPage();
  await tab.goto(page.url());
  await tab.getByRole('button', { name: 'Theme: dark' }).click();
  await page.getByRole('button', { name: 'Theme: auto' }).waitFor(); // the other tab follows
  assert.equal(await background(page), 'light');
});

const focused = (page) => page.evaluate(() => {
  const e = document.activeElement;
  return `${e.localName}${e.id && `#${e.id}`} ${e.textContent.trim().slice(0, 30)}`.trim();
});

scenario('keyboard only', async ({ open }) => {
  const page = await open('#/');
  await shown(page);
  await page.keyboard.press('Tab');
  assert.equal(await focused(page), 'a Skip to the content');
  const box = await page.locator(':focus').boundingBox();
  assert.ok(box.x >= 0 && box.y >= 0 && box.width > 24 && box.height >= 24, `the link is at ${JSON.stringify(box)}`);
  await page.keyboard.press('Enter');
  assert.match(await focused(page), /^main#main/);
  assert.equal(new URL(page.url()).hash, '#/');

  // Everything in the header is reached and shows the focus.
  await page.locator('a.skip').focus();
  const seen = [];
  for (let i = 0; i < 12; i++) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const e = document.activeElement;
      const style = getComputedStyle(e);
      return { inHeader: Boolean(e.closest('header')), name: e.textContent.trim(), ring: parseFloat(style.outlineWidth) >= 2 && style.outlineStyle !== 'none' };
    });
    if (!at.inHeader) break;
    assert.ok(at.ring, `${at.name} does not show the focus`);
    seen.push(at.name);
  }
  for (const name of ['Imagebatch', 'New', 'Jobs', 'System', 'auto']) assert.ok(seen.some((s) => s.includes(name)), `${name} is not among ${seen}`);

  // A screen that is opened has the focus on its heading.
  await page.getByRole('link', { name: /^Jobs/ }).focus();
  await page.keyboard.press('Enter');
  await until(async () => (await focused(page)) === 'h1 Jobs', 'the focus on the heading');
  await page.goBack();
  await until(async () => /^h1/.test(await focused(page)), 'the focus on the heading after Back');
});

scenario('axe in light', { limit: 360 }, async (rig) => {
  const page = await rig.open();
  await visit(rig, page, () => rig.axe(page));
});

scenario('axe in dark', { limit: 360 }, async (rig) => {
  const page = await rig.open('', { dark: true });
  await visit(rig, page, () => rig.axe(page));
});

scenario('390 pixels', { limit: 360 }, async (rig) => {
  const page = await rig.open('', { width: 390, height: 844 });
  await visit(rig, page, async (route) => {
    await rig.noSidewaysScroll(page);
    await rig.screenshot(page, `shell-390${route.replace(/[^a-z]+/g, '-')}`);
  });
  await page.emulateMedia({ colorScheme: 'dark' });
  await rig.axe(page);
});

scenario('200 percent zoom', { limit: 360 }, async (rig) => {
  const page = await rig.open('', { width: 640, height: 450, context: { deviceScaleFactor: 2 } });
  await visit(rig, page, () => rig.noSidewaysScroll(page));
});

scenario('plain HTTP under a host name', { system: 'nas', limit: 360 }, async (rig) => {
  const page = await rig.open();
  assert.equal(await page.evaluate(() => isSecureContext), false);
  assert.equal(new URL(page.url()).hostname, 'nas');
  await visit(rig, page, async () => {});
});

scenario('below a path', { system: 'prefix', limit: 360 }, async (rig) => {
  const page = await rig.open();
  const outside = [];
  page.on('request', (request) => {
    const { protocol, pathname } = new URL(request.url());
    if (protocol === 'http:' && !pathname.startsWith('/images/')) outside.push(request.url());
  });
  await page.goto(rig.url.replace(/\/$/, ''));
  assert.equal(page.url(), `${rig.url}`);
  outside.length = 0; // the address without the last slash
  await visit(rig, page, async () => {});
  assert.deepEqual(outside, []);
});

scenario('two gateways', { system: 'gateways', limit: 360 }, async (rig) => {
  const page = await rig.open('#/jobs');
  await shown(page);
  rig.allow(/net::ERR_/);
  await rig.control.set({ gateway: 1 });
  await rig.control.kill(0);
  await rig.control.cut();
  await visit(rig, page, async () => {});
});

scenario('an unknown address', async ({ open }) => {
  const page = await open('#/nowhere/at/all');
  await page.getByRole('heading', { name: 'Page not found' }).waitFor();
  await page.locator('main').getByRole('link', { name: 'list of jobs' }).click();
  await page.getByRole('heading', { name: 'Jobs' }).waitFor();
});
