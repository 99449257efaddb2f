// Scenarios that must fail. TestBrowserFindsFaults runs them on a page whose policy is that of the console, and expects each
// name in the scenario's error.

import { drop, photo, scenario, until, write } from './rig.mjs';

const faults = {
  'an error in the console: broken': () => console.error('broken'),
  'an exception: TypeError': () => new Promise((resolve) => {
    setTimeout(() => { resolve(); undefined.member; });
  }),
  'a violation of the policy: require-trusted-types-for': () => { try { document.body.innerHTML = '<p>'; } catch { /* It is thrown, too. */ } },
  'a violation of the policy: style-src': () => document.querySelector('p').setAttribute('style', 'color: red'),
  'a violation of the policy: img-src': () => new Promise((resolve) => {
    const image = new Image();
    image.onerror = resolve;
    image.src = 'http://example.com/pixel.png';
  }),
  'a request to another host: http://example.com/': () => fetch('http://example.com/').catch(() => {}),
  'a request to another host: ws://example.com/': () => new Promise((resolve) => {
    new WebSocket('ws://example.com/').onclose = resolve;
  }),
  'a dialog (alert): 1': () => alert('1'),
  'status of 404': () => fetch('missing'),
  'the page scrolls to the side': () => { document.querySelector('p').style.width = '2000px'; },
  'html-has-lang': () => document.documentElement.removeAttribute('lang'),
  'target-size': () => document.querySelectorAll('button').forEach((button) => { button.style = 'padding: 0; width: 9px; height: 9px'; }),
  'the scenario takes more than 2 s': () => new Promise(() => {}),
};

for (const [fault, act] of Object.entries(faults)) {
  scenario(fault, { system: 'faults', limit: fault.includes('takes') ? 2 : 60 }, async ({ open, axe, noSidewaysScroll }) => {
    const page = await open();
    await axe(page);
    await noSidewaysScroll(page);
    await page.evaluate(act);
    await axe(page);
    await noSidewaysScroll(page);
  });
}

scenario('the browser opened a dropped file', { system: 'faults' }, async ({ open, folder }) => {
  const page = await open();
  await drop(page, 'main', write(folder, { 'photo.jpg': photo() }));
  const pages = () => page.context().pages();
  await until(() => pages().some((p) => p.url().startsWith('file:')), 'the file');
});

scenario('no fault', { system: 'faults' }, async ({ open, axe }) => axe(await open()));
