// Messages for screen readers.

/** announcer returns a function that passes texts to show, at most one in ms. Of several texts in
 * that time, only the last is shown: it describes the present state. */
export function announcer(show, ms = 2000) {
  let pending = null;
  let timer = 0;
  const next = () => {
    timer = 0;
    if (pending === null) return;
    show(pending);
    pending = null;
    timer = setTimeout(next, ms);
  };
  return (text) => {
    pending = text;
    if (!timer) next();
  };
}
