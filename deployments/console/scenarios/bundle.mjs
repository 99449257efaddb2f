import { allScripts, assert, scenario } from '../rig.mjs';

const jobsChunk = /\/jobs-\w+\.js$/;

for (const system of ['open', 'prefix', 'nas']) {
  scenario(`the other screens are loaded once the first is there, with ${system}`, { system }, async ({ open }) => {
    const page = await open();
    const names = await allScripts(page);
    assert.equal(new Set(names).size, names.length, `a script was loaded twice: ${names}`);
    const first = await page.locator('script, link[rel=modulepreload]').evaluateAll((list) => list.map(({ src, href }) => (src ?? href).split('/').pop()));
    assert.deepEqual(names.slice(0, first.length).sort(), first.sort(), 'the page does not start with the scripts of the first screen');
  });
}

scenario('a screen that could not be loaded is loaded again', async ({ open, url, axe, allow }) => {
  allow(/ERR_FAILED/);
  const page = await open('docs');
  await page.route(jobsChunk, (route) => route.abort());
  await page.goto(`${url}#/jobs`);
  await page.getByRole('main').getByText('A part of this page could not be loaded').waitFor();
  assert.equal(await page.locator('.banner').count(), 0);
  await axe(page);
  await page.unroute(jobsChunk);
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByRole('heading', { level: 1, name: 'Jobs' }).waitFor();
});

scenario('a page that is open during an update of the gateway says so', async ({ open, url, axe, allow, screenshot }) => {
  allow(/status of 404/);
  const page = await open('docs');
  // The gateway of another release: another page, and none of the old files.
  const index = (address) => address.href === url;
  await page.route(jobsChunk, (route) => route.fulfill({ status: 404, contentType: 'application/json', body: '{"error":"Not found","status":404}' }));
  await page.goto(url);
  await page.locator('h1').waitFor();
  await page.route(index, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: (await response.text()).replace(/name="digest" content="\w/, 'name="digest" content="x') });
  });
  await page.getByRole('link', { name: 'Jobs' }).click();
  await page.locator('.banner', { hasText: 'Imagebatch was updated' }).waitFor();
  await axe(page);
  await screenshot(page, 'updated');
  await page.unroute(index);
  await page.unroute(jobsChunk);
  await page.getByRole('button', { name: 'Reload the page' }).click();
  await page.getByRole('heading', { level: 1, name: 'Jobs' }).waitFor();
  assert.equal(await page.locator('.banner').count(), 0);
});
