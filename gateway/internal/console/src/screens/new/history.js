// What this browser has sent in the last 24 hours, so that a file is not sent twice by mistake.
import { hashText } from '../../lib/hash.js';
import { read, write } from '../../lib/storage.js';

const day = 86_400_000;
const maxFiles = 5000; // of which about 40 bytes are stored each

// Several gateways may share an origin below different paths.
const mark = ({ name, size, time }) => hashText([new URL('.', document.baseURI).pathname, name, size, time].join('\n'));

/** sentBefore returns a function that returns when a file was sent, or 0. */
export function sentBefore(now = Date.now()) {
  const sent = read('sent', {});
  return (item) => {
    if (item.url) return 0;
    const at = sent[mark(item)] ?? 0;
    return now - at < day ? at : 0;
  };
}

/** rememberSent keeps the marks of files that were sent now. */
export function rememberSent(items, now = Date.now()) {
  const sent = Object.entries(read('sent', {})).filter(([, at]) => now - at < day);
  for (const item of items) if (!item.url) sent.push([mark(item), now]);
  write('sent', Object.fromEntries(sent.slice(-maxFiles)));
}
