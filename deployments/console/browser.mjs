// Starts Chromium, and records what a page of the console must never do.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const packages = createRequire(join(process.env.PACKAGES, 'packages.cjs'));
const { chromium } = packages('playwright-core');
const axeSource = readFileSync(packages.resolve('axe-core/axe.min.js'), 'utf8');

// `nas` is a name that is not localhost, so a page there is no secure context. Other names are not resolved: a request that
// gets past the checks below leaves this machine in no case.
const resolver = 'MAP nas 127.0.0.1,MAP * ~NOTFOUND,EXCLUDE 127.0.0.1,EXCLUDE localhost';

/** Starts a browser with a new profile. */
export function launch() {
  const headful = Boolean(process.env.HEADFUL);
  return chromium.launch({
    executablePath: process.env.CHROMIUM,
    headless: !headful,
    slowMo: headful ? 300 : 0,
    chromiumSandbox: false,
    args: [
      '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
      '--disable-sync', `--host-resolver-rules=${resolver}`,
    ],
  });
}

/**
 * Records everything about the pages of a context that fails a scenario: errors in the console, exceptions, violations of the
 * Content Security Policy, dialogs of scripts, and requests to a host that is not the console's own.
 */
export class Watch {
  #found = [];
  #allowed = [];

  constructor(host) {
    this.host = host;
  }

  /** Allows findings that match the expression: those that the scenario provokes. */
  allow(pattern) {
    this.#allowed.push(pattern);
  }

  /** Throws an error with all findings so far that are not allowed, and with what the pages show now. */
  check(pages) {
    for (const page of pages) this.#request(page.url());
    const found = this.#found.filter((text) => !this.#allowed.some((pattern) => pattern.test(text)));
    if (found.length > 0) throw new Error(`the page caused:\n  ${[...new Set(found)].slice(0, 20).join('\n  ')}`);
  }

  #request(address) {
    const url = new URL(address);
    if (/^(http|ws)s?:$/.test(url.protocol) && url.host !== this.host) this.#found.push(`a request to another host: ${address}`);
    if (url.protocol === 'file:') this.#found.push(`the browser opened a dropped file: ${address}`);
  }

  async attach(context) {
    await context.exposeBinding('reportViolation', (_, text) => this.#found.push(text));
    await context.addInitScript(() => {
      const report = window.reportViolation;
      document.addEventListener('securitypolicyviolation', (e) => {
        report(`a violation of the policy: ${e.violatedDirective}, ${e.blockedURI}, ${e.sourceFile}:${e.lineNumber} ${e.sample}`);
      });
    });
    context.on('request', (request) => this.#request(request.url()));
    context.on('page', (page) => {
      page.on('framenavigated', (frame) => this.#request(frame.url()));
      page.on('websocket', (socket) => this.#request(socket.url()));
      page.on('console', (message) => {
        if (message.type() === 'error') this.#found.push(`an error in the console: ${message.text()} (${message.location().url})`);
      });
      page.on('pageerror', (error) => this.#found.push(`an exception: ${error.stack}`));
      page.on('crash', () => this.#found.push('a crash of the page'));
      page.on('dialog', (dialog) => {
        this.#found.push(`a dialog (${dialog.type()}): ${dialog.message()}`);
        dialog.accept().catch(() => {}); // The page may be closed.
      });
    });
  }
}

/** Throws an error if axe-core finds a violation of WCAG 2.2 AA or of its best practices. */
export async function checkAxe(page, { within, rules = {} } = {}) {
  await page.evaluate(axeSource);
  const violations = await page.evaluate(async ([selector, overrides]) => {
    const result = await window.axe.run(selector ?? document, {
      resultTypes: ['violations'],
      rules: { 'target-size': { enabled: true }, ...overrides },
    });
    return result.violations.map((v) => ({ id: v.id, help: v.help, nodes: v.nodes.map((n) => `${n.target.join(' ')}: ${n.failureSummary}`) }));
  }, [within, rules]);
  if (violations.length > 0) {
    const lines = violations.map((v) => `${v.id}: ${v.help}\n    ${v.nodes.slice(0, 5).join('\n    ').replace(/\n\s*/g, '\n    ')}`);
    throw new Error(`axe-core found ${violations.length} violations:\n  ${lines.join('\n  ')}`);
  }
}
