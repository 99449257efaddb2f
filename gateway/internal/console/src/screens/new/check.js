// Which of the chosen files and URLs can be sent.
import { bytes, plural } from '../../lib/format.js';

/** isSystemFile reports whether a program keeps the file for itself, or one of its folders: macOS
 * (._x, .DS_Store), Windows (Thumbs.db, desktop.ini), Synology (@eaDir) and everything hidden. */
export const isSystemFile = (path) => path.split('/').some((part) => /^(\.|(@eaDir|Thumbs\.db|desktop\.ini)$)/i.test(part));

const ascii = (head, from, to) => String.fromCharCode(...head.subarray(from, to));

/** formatOf returns the format of a file by its first 16 bytes: 'JPEG' or 'PNG', another name to
 * show to a person, or ''. */
export function formatOf(head) {
  if (head[0] === 0xff && head[1] === 0xd8 && head[2] === 0xff) return 'JPEG';
  if (ascii(head, 0, 8) === '\x89PNG\r\n\x1a\n') return 'PNG';
  if (ascii(head, 4, 8) === 'ftyp') {
    const brand = ascii(head, 8, 12);
    return /^avi[fs]/.test(brand) ? 'AVIF' : /^(he[iv]|mif1|msf1)/.test(brand) ? 'HEIC' : /^crx/.test(brand) ? 'a raw photo' : 'a video';
  }
  if (ascii(head, 0, 4) === 'RIFF' && ascii(head, 8, 12) === 'WEBP') return 'WebP';
  if (/^GIF8/.test(ascii(head, 0, 4))) return 'GIF';
  if (/^(II\*\0|MM\0\*)/.test(ascii(head, 0, 4))) return 'TIFF or a raw photo';
  return /^%PDF/.test(ascii(head, 0, 4)) ? 'PDF' : '';
}

/** inspect returns null if a file can be sent, and otherwise the reason as {kind, format}. The
 * bytes decide, not the name: the gateway does the same. */
export async function inspect(file, { max_image_bytes: limit }) {
  if (file.size === 0) return { kind: 'empty' };
  let format;
  try {
    format = formatOf(new Uint8Array(await file.slice(0, 16).arrayBuffer()));
  } catch {
    return { kind: 'unreadable' };
  }
  if (format !== 'JPEG' && format !== 'PNG') return { kind: 'format', format };
  return file.size > limit ? { kind: 'large' } : null;
}

const extension = (name) => /[^.](\.[^.\s]{1,8})$/.exec(name)?.[1] ?? '';
const looksRight = (name) => /\.(jpe?g|jpe|jfif|png)$/i.test(name);

/** reasonOf returns why a refused file cannot be sent, as the end of a sentence that starts with
 * its name. */
export function reasonOf({ name, size, kind, format }, limit) {
  switch (kind) {
    case 'empty': return 'is empty';
    case 'unreadable': return 'cannot be read';
    case 'large': return `has ${bytes(size, { apartFrom: limit })}, the limit is ${bytes(limit)}`;
    default:
      return looksRight(name) && format ? `is ${format} inside, not JPEG or PNG` : 'is not a JPEG or PNG';
  }
}

/** summary returns texts for refused files, with one text for each kind: "412 .CR3", "3 larger
 * than 10 MB". A kind with one file has the file itself instead: {name, reason}. */
export function summary(refused, limit) {
  const groups = new Map();
  for (const file of refused) {
    const ending = file.kind === 'format' ? extension(file.name) : '';
    const key = `${file.kind} ${ending.toLowerCase()}`;
    const group = groups.get(key) ?? { ...file, ending, files: [] };
    group.files.push(file);
    groups.set(key, group);
  }
  return [...groups.values()].sort((a, b) => b.files.length - a.files.length).map(({ kind, ending, files }) => {
    const n = files.length;
    if (n === 1) return { name: files[0].name, reason: reasonOf(files[0], limit) };
    if (kind === 'empty') return plural(n, 'empty file');
    if (kind === 'unreadable') return `${plural(n, 'file')} that cannot be read`;
    if (kind === 'large') return `${plural(n, 'image')} larger than ${bytes(limit)}`;
    if (!ending) return `${plural(n, 'file')} without a type`;
    return `${n.toLocaleString('en-US')} ${ending}${looksRight(`x${ending}`) ? ' without a JPEG or PNG inside' : ''}`;
  });
}

const maxURL = 8 << 10; // bytes; the gateway refuses a longer one

function problemOf(text) {
  if (new TextEncoder().encode(text).length > maxURL) return 'is longer than 8 KiB';
  return /^https?:\/\/./i.test(text) && URL.canParse(text) ? '' : 'is not an http or https URL';
}

/** parseUrls returns {urls, problems} of a text with one URL in a line. Empty lines and comments
 * that start with # are ignored. problems has {line, text, reason}. */
export function parseUrls(text) {
  const [urls, problems] = [new Set(), []];
  text.split(/\r\n|\r|\n/).forEach((raw, i) => {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) return;
    const reason = problemOf(line);
    if (reason) problems.push({ line: i + 1, text: line.slice(0, 60), reason });
    else urls.add(line);
  });
  return { urls: [...urls], problems };
}

/** nameOfUrl returns the name that the gateway gives to the image: the last part of the path. */
export function nameOfUrl(text) {
  const { pathname, host } = new URL(text);
  const name = pathname.split('/').pop();
  try {
    return decodeURIComponent(name) || host;
  } catch {
    return name;
  }
}
