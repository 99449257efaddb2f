/*! Imagebatch, Apache-2.0. It includes:
htm 3.1.1, Copyright 2018 Google Inc., Apache-2.0, https://www.apache.org/licenses/LICENSE-2.0
Preact 11.2.0, MIT License:
Copyright (c) 2015-present Jason Miller
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:
The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.
THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE. */
import { connected, limits, onConnection, useKey } from './lib/api.js';
import { countText, useCounts } from './lib/counts.js';
import { KeyButton, KeyDialog, useCaller } from './lib/keydialog.js';
import { useLoad } from './lib/load.js';
import { html, render, useEffect, useErrorBoundary, useLayoutEffect, useRef, useState } from './lib/preact.js';
import { useUpdated } from './lib/release.js';
import { href, route as currentRoute, useRoute } from './lib/router.js';
import './lib/shared.js';
import { startTheme, themes, useTheme } from './lib/theme.js';
import { announce, ConfirmHost, EmptyState, ErrorNote, Heading, LiveRegion, Loading } from './lib/ui.js';
import { prefetch, start, useScreen } from './later/later.js';
import New from './screens/new.js';
import { UploadStrip } from './screens/new/sending.js';

// The screens of the first visit.
const screens = { new: New, unknown: Unknown };

// place is what a person would call the same place: the images of a job are one place.
const place = ({ name, params }) => `${name} ${params.id ?? ''}`;

function App() {
  const route = useRoute();
  const { data: known, error, reload } = useLoad(limits);
  const caller = useCaller(known?.keys);
  return html`
    <${Header} route=${route} keys=${known?.keys} caller=${caller} />
    <${OfflineBanner} />
    <${UpdateBanner} />
    <${UploadStrip} route=${route} />
    <main id="main" tabindex="-1">
      ${known
        ? html`<${Place} route=${route} limits=${known} caller=${caller} />`
        : error ? html`<${ErrorNote} error=${error} title="The limits of the gateway could not be read" retry=${reload} />` : html`<${Loading} />`}
    </main>
    <${LiveRegion} />
    <${KeyDialog} />
    <${ConfirmHost} />`;
}

// The hash is the address of the screen, so a link to #main would leave it.
function skip(event) {
  event.preventDefault();
  document.getElementById('main').focus();
}

function Place({ route, limits: known, caller }) {
  const { screen, error, retry } = useScreen(route.name, screens);
  if (error) return html`<${Heading}>Not loaded<//><${ErrorNote} error=${error} retry=${retry} />`;
  return screen ? html`<${Screen} key=${place(route)} screen=${screen} route=${route} limits=${known} caller=${caller} />` : html`<${Loading} />`;
}

let opened = false; // a screen was shown, so the next one takes the focus

function Screen({ screen, route, limits: known, caller }) {
  const [failure, again] = useErrorBoundary((err) => console.error(err));
  // After the effects of the screen, which may have chosen a better place for the focus.
  useEffect(() => {
    const main = document.getElementById('main');
    if (opened && !main.contains(document.activeElement) && !document.querySelector('dialog[open]')) {
      scrollTo(0, 0);
      const heading = main.querySelector('[data-heading]') ?? main;
      heading.focus({ preventScroll: true });
      if (heading === main) announce(document.title); // a heading is read when it has the focus
    }
    if (!opened) prefetch();
    opened = true;
  }, []);
  if (failure) {
    return html`<${Heading}>Something went wrong<//><div class="note bad"><p><bdi>${String(failure.message ?? failure)}</bdi></p>
      <button type="button" onClick=${again}>Show it again</button></div>`;
  }
  return html`<${screen} params=${route.params} query=${route.query} limits=${known} caller=${caller} />`;
}

function Unknown() {
  return html`<${Heading}>Page not found<//><${EmptyState} title="There is nothing at this address.">
    <a href=${href('new')}>Send images</a> or see the <a href=${href('jobs')}>list of jobs</a>.<//>`;
}

// index.html has the head of this, which is painted before the script has arrived.
function Header({ route, keys, caller }) {
  const key = useKey();
  const counts = useCounts(keys === false || Boolean(key));
  const openJobs = counts ? counts.pending + counts.processing : 0;
  const open = openJobs ? ` (${['pending', 'processing'].some((name) => counts.at_least?.includes(name)) ? countText({ open: openJobs, at_least: ['open'] }, 'open') : openJobs} open)` : '';
  const link = (name, names, text) => html`<a href=${href(name)} aria-current=${names.includes(route.name) ? 'page' : undefined}>${text}</a>`;
  return html`<header class="bar">
    <a class="skip" href=${route.hash || '#/'} onClick=${skip}>Skip to the content</a>
    <a class="brand" href=${href('new')}><img src="icon.svg" alt="" width="24" height="24" />Imagebatch</a>
    <nav aria-label="Main">
      ${link('new', ['new', 'upload'], 'New')}
      ${link('jobs', ['jobs', 'job', 'viewer'], `Jobs${open}`)}
      ${caller?.operator !== false && (caller || keys === false) && link('system', ['system'], 'System')}
    </nav>
    <div class="bar-end"><${ThemeButton} />${(keys || key) && html`<${KeyButton} name=${caller?.name} />`}</div>
  </header>`;
}

const icons = { auto: '◐', light: '☀', dark: '☾' };

function ThemeButton() {
  const [theme, setTheme] = useTheme();
  const next = themes[(themes.indexOf(theme) + 1) % themes.length];
  const change = () => {
    setTheme(next);
    announce(`Theme: ${next}`);
  };
  return html`<button type="button" class="plain" title="Change the theme" onClick=${change}><span aria-hidden="true">${icons[theme]}</span> <span><span class="visually-hidden">Theme: </span>${theme}</span></button>`;
}

function OfflineBanner() {
  const [online, set] = useState(connected());
  const before = useRef(online);
  useEffect(() => onConnection(set), []);
  useLayoutEffect(() => {
    if (before.current !== online) announce(online ? 'Connected to the gateway again' : 'No connection to the gateway');
    before.current = online;
  }, [online]);
  return online ? null : html`<div class="banner" role="region" aria-label="Connection">No connection to the gateway. The page tries again by itself; what you see may be old.</div>`;
}

function UpdateBanner() {
  const updated = useUpdated();
  useEffect(() => {
    if (updated) announce('Imagebatch was updated. Reload the page.');
  }, [updated]);
  return updated ? html`<div class="banner row" role="region" aria-label="Update">Imagebatch was updated. <button type="button" onClick=${() => location.reload()}>Reload the page</button></div>` : null;
}

startTheme();
start(currentRoute().name);
render(html`<${App} />`, document.getElementById('app'));
