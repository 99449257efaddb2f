// Coming back from the viewer to the same place of a grid.
import { useLayoutEffect } from '../../lib/preact.js';
import { parse, route } from '../../lib/router.js';

let before = null; // the route before the present one
let left = null; // where the last card was opened: {screen, scroll}

globalThis.addEventListener?.('hashchange', (event) => {
  before = parse(new URL(event.oldURL).hash);
});

const screen = () => `${route().name} ${route().params.id}`;

/** previous returns the route before the present one, or null. */
export const previous = () => before;

/** leave remembers the place before a card is opened. */
export function leave() {
  left = { screen: screen(), scroll: scrollY };
}

/** useReturn gives the focus to the card of the image that was last in the viewer, once, as soon
 * as there is that card. find returns its element by the ID of the job and the index. */
export function useReturn(find) {
  useLayoutEffect(() => {
    if (before?.name !== 'viewer') return;
    const card = find(before.params.id, before.params.index);
    if (!card) return;
    const moved = document.activeElement && !document.activeElement.matches('body, main, [data-heading]');
    before = null;
    if (moved) return; // the person is already somewhere else
    const back = () => {
      if (left?.screen === screen()) scrollTo(0, left.scroll);
      const { top, bottom } = card.getBoundingClientRect();
      if (top < 0 || bottom > innerHeight) card.scrollIntoView({ block: 'nearest' });
    };
    back();
    card.querySelector('a').focus({ preventScroll: true });
    requestAnimationFrame(back); // the heights that the browser had guessed are known then
  });
}
