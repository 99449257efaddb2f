// What a file of scenarios uses. Each scenario opens pages of a running system, acts like a person, and throws an error where
// the console does not do what it should. See "Browser tests" in CONTRIBUTING.md.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkAxe, Watch } from './browser.mjs';
import { controlOf } from './control.mjs';

export { assert };
export * from './files.mjs';

/** The scenarios of the file, in order. */
export const scenarios = [];

/**
 * Adds a scenario. The options are
 * - system: open (one process without keys), keys (with the keys of anna and of ops, an operator), prefix (below a path), nas (by
 *   a host name, without a secure context), captions (with a model), brief (deletes each job 3 s after its end), pairs (takes two
 *   images in a batch) or gateways (three services, two gateways). Scenarios of a file share their system, with its jobs;
 * - limit: seconds until the scenario fails.
 */
export function scenario(name, options, run) {
  if (typeof options === 'function') [options, run] = [{}, options];
  scenarios.push({ name, system: 'open', limit: 180, ...options, run });
}

/** Waits until check returns a value that is not false, null or undefined, or no longer throws, and returns the value. */
export async function until(check, what = 'the condition', seconds = 60) {
  for (const end = Date.now() + seconds * 1000; ; ) {
    let reason = 'it is not true';
    try {
      const value = await check();
      if (value !== false && value !== null && value !== undefined) return value;
    } catch (error) {
      reason = error.message;
    }
    if (Date.now() > end) throw new Error(`waited ${seconds} s for ${what}: ${reason}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Waits until a page has the scripts of all screens, and returns the names of its scripts in the order of their requests. */
export const allScripts = (page) => until(async () => {
  const names = await page.evaluate(() => performance.getEntriesByType('resource').map(({ name }) => name.split('/').pop()).filter((name) => name.endsWith('.js')));
  return ['upload', 'viewer', 'job', 'jobs', 'system'].every((screen) => names.some((name) => name.startsWith(`${screen}-`))) && names;
}, 'the scripts of all screens');

/** A scenario receives one of these, and takes from it what it needs. Its functions work without their object. */
export class Rig {
  #browser;
  #contexts = [];
  #slow = new WeakMap(); // sessions that limit the uploads of a page
  #watch;

  constructor(browser, name, site) {
    this.#browser = browser;
    this.name = name;
    this.url = site.url;
    this.base = site.api;
    this.key = site.key;
    this.operatorKey = site.operator_key;
    this.control = controlOf(site.system);
    this.#watch = new Watch(new URL(site.url).host);
    /** A folder for the scenario's files. */
    this.folder = mkdtempSync(join(tmpdir(), 'scenario-'));
  }

  /**
   * Opens a page in a browser context of its own, as another person would: with an own storage. The route is one of the
   * console's, such as '#/jobs?status=failed'. With `key`, the tab has the key already.
   */
  open = async (route = '', { width = 1280, height = 900, dark = false, key, reducedMotion = false, context: settings = {} } = {}) => {
    const context = await this.#browser.newContext({
      viewport: { width, height }, colorScheme: dark ? 'dark' : 'light', reducedMotion: reducedMotion ? 'reduce' : 'no-preference',
      locale: 'en-US', timezoneId: 'Europe/Berlin', acceptDownloads: true, ...settings,
    });
    this.#contexts.push(context);
    context.setDefaultTimeout(60_000);
    await this.#watch.attach(context);
    if (key) {
      await context.addInitScript(([name, value]) => {
        // A page without an origin, such as about:blank, has no storage.
        if (location.protocol === 'http:' && sessionStorage.getItem(name) === null) sessionStorage.setItem(name, JSON.stringify(value));
      }, [keyName, key]);
    }
    const page = await context.newPage();
    page.on('filechooser', () => {}); // now, because a click can overtake the command to intercept what it opens
    // A text that is also announced to screen readers is meant where people see it.
    const byText = page.getByText.bind(page);
    page.getByText = (...text) => byText(...text).and(page.locator(':not([role=status])'));
    await page.goto(new URL(route, this.url).href, { waitUntil: 'load' });
    return page;
  };

  /** Checks the page, or the part that the selector `within` selects, with axe-core. */
  axe = (page, options) => checkAxe(page, options);

  /** Allows findings that the scenario provokes, such as /status of 401/ in the console. */
  allow = (...patterns) => patterns.forEach((pattern) => this.#watch.allow(pattern));

  /** Saves a screenshot as NAME.png in the folder $SCREENSHOTS, if that is set. */
  screenshot = async (page, name, options = {}) => {
    if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`), ...options });
  };

  /** Takes the network from the page, or gives it back: the browser knows it, and no connection works. */
  offline = async (page, on = true) => {
    await this.control.set({ offline: on }); // first, because the page tries as soon as the browser tells it
    await page.context().setOffline(on);
  };

  /**
   * Limits the uploads of a page to a number of bytes per second; 0 ends that. The browser itself delays them, so that its progress
   * events are those of a slow line: a slow server would receive the first megabytes in buffers, at once.
   */
  slowUploads = async (page, bytesPerSecond) => {
    const session = this.#slow.get(page) ?? await page.context().newCDPSession(page);
    this.#slow.set(page, session); // Another session would not end what this one has set.
    await session.send('Network.enable');
    const rates = { latency: 0, downloadThroughput: -1, uploadThroughput: bytesPerSecond || -1 };
    await session.send('Network.emulateNetworkConditions', { offline: false, ...rates });
  };

  /** Sends a request to the API, without a browser, and returns the decoded response. */
  api = async (method, path, body, { key = this.key, status } = {}) => {
    const form = body instanceof FormData;
    const response = await fetch(new URL(path, this.base), {
      method, body: form || body === undefined ? body : JSON.stringify(body),
      headers: { ...(body && !form && { 'Content-Type': 'application/json' }), ...(key && { Authorization: `Bearer ${key}` }) },
    });
    const text = await response.text();
    if (status ? response.status !== status : !response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return response.headers.get('content-type')?.includes('json') ? JSON.parse(text) : text;
  };

  /** Sends a batch of {name, data} or {url}, with more members of the request, and returns the ID of its job. */
  submit = async (images, { key, ...members } = {}) => {
    const batch = images.map(({ data, ...image }) => (data ? { ...image, base64: data.toString('base64') } : image));
    const created = await this.api('POST', 'api/v1/batch', { images: batch, ...members }, { key });
    return created.job_id;
  };

  /** Waits until a job has ended, and returns it. */
  ended = (id, { key } = {}) => until(async () => {
    const job = await this.api('GET', `api/v1/batch/${id}`, undefined, { key });
    return ['completed', 'failed', 'cancelled'].includes(job.status) && job;
  }, `the end of job ${id}`, 180);

  /** Throws an error if a narrow page scrolls to the side, with the elements that are too wide. */
  noSidewaysScroll = async (page) => {
    const wide = await page.evaluate(() => {
      const root = document.scrollingElement;
      if (root.scrollWidth <= root.clientWidth) return [];
      const out = [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > root.clientWidth + 0.5);
      return [`${root.scrollWidth} of ${root.clientWidth} pixels`, ...out.slice(0, 8).map((e) => e.outerHTML.slice(0, 120))];
    });
    assert.deepEqual(wide, [], 'the page scrolls to the side');
  };

  /** What a failed scenario leaves: a screenshot of its last page. */
  failure = async (folder) => {
    const page = this.#contexts.at(-1)?.pages().at(-1);
    if (!page) return '';
    mkdirSync(folder, { recursive: true });
    const path = join(folder, `${this.name.replace(/[^\w.-]+/g, '-')}.png`);
    await page.screenshot({ path, timeout: 5000 });
    return path;
  };

  /** Waits until everything that the pages have reported so far has arrived, and throws an error if something must not be. */
  check = async () => {
    const pages = this.#contexts.flatMap((context) => context.pages());
    await Promise.race([
      Promise.allSettled(pages.map((page) => page.evaluate(() => new Promise((resolve) => { setTimeout(resolve); })))),
      new Promise((resolve) => { setTimeout(resolve, 2000).unref(); }), // A page that is busy for ever still reports what it has done.
    ]);
    this.#watch.check(pages);
  };

  close = async () => {
    await Promise.allSettled(this.#contexts.map((context) => context.close()));
    await this.control.reset();
  };
}

// The name under which a tab of the console keeps its key, as JSON: src/lib/key.js.
const keyName = 'imagebatch.key';
