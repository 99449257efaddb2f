import { assert, scenario } from '../rig.mjs';

for (const system of ['open', 'prefix', 'nas', 'gateways']) {
  scenario(`loads with ${system}`, { system }, async ({ open, axe, screenshot }) => {
    const page = await open();
    assert.equal(await page.title(), 'Imagebatch');
    await page.locator('h1').waitFor();
    await axe(page);
    await screenshot(page, `page-${system}`);
  });
}
