// Runs the scenarios of $FILE in one browser and prints a line of JSON for each: {name, ok, error, screenshot, skipped, ms}. The
// last line is {"done": true}. console_test.go starts it, with
//
//   PACKAGES     node_modules with playwright-core and axe-core
//   CHROMIUM     the browser
//   CONTROL      URL of the test's control server
//   ONLY         expression that selects scenarios by name, with _ for each space; empty: all
//   FAILURES     folder for the screenshots of failures
//   SCREENSHOTS  folder for all other screenshots; empty: there are none
//   HEADFUL      1: show the browser, slowly

import { mkdirSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { launch } from './browser.mjs';
import { request } from './control.mjs';
import { Rig, scenarios } from './rig.mjs';

const { FILE, ONLY, FAILURES, SCREENSHOTS } = process.env;
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

// A promise that a scenario does not wait for fails it as well.
let stray;
process.on('unhandledRejection', (error) => { stray = error; });

// told returns the text of an error with the lines of the scenarios in its stack, without those of the rig.
function told(error) {
  const text = error instanceof Error ? error.stack : `thrown: ${error}`;
  return stripVTControlCharacters(text).split('\n').filter((line) => !/^ +at .*(console\/\w+\.mjs|node:)/.test(line)).join('\n');
}

async function run(browser, { name, system, limit, run: play }) {
  let rig;
  let timer;
  stray = undefined;
  try {
    rig = new Rig(browser, `${basename(FILE, '.mjs')}-${name}`, { system, ...(await request(system, 'site')) });
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`the scenario takes more than ${limit} s`)), limit * 1000);
    });
    await Promise.race([play(rig), late]);
    await rig.check();
    if (stray) throw stray;
    return { ok: true };
  } catch (error) {
    if (error?.absent) return { skipped: error.absent };
    const failure = { ok: false, error: told(error) };
    try {
      await rig?.check();
    } catch (found) {
      if (found.message !== error?.message) failure.error += `\n${found.message}`;
    }
    failure.screenshot = await rig?.failure(FAILURES).catch((e) => `none: ${e.message}`);
    return failure;
  } finally {
    clearTimeout(timer);
    await rig?.close();
  }
}

await import(pathToFileURL(resolve(FILE)));
const only = new RegExp(ONLY ?? '');
if (SCREENSHOTS) mkdirSync(SCREENSHOTS, { recursive: true });
const browser = await launch();
for (const s of scenarios.filter(({ name }) => only.test(name.replaceAll(' ', '_')))) {
  const start = performance.now();
  const result = await run(browser, s).catch((error) => ({ ok: false, error: told(error) }));
  print({ name: s.name, ...result, ms: Math.round(performance.now() - start) });
}
await browser.close();
print({ done: true });
