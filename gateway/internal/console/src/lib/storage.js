// Values that outlive the page. A browser may refuse to store anything (private windows, blocked
// cookies, a full disk); then the value lives as long as the page.

const prefix = 'imagebatch.';
const memory = new Map();

function area(kind) {
  try {
    return kind === 'session' ? sessionStorage : localStorage;
  } catch {
    return null;
  }
}

/** read returns the stored value, or fallback. kind is 'local' (this device) or 'session' (this tab). */
export function read(name, fallback = null, kind = 'local') {
  const kept = memory.get(kind + name);
  if (kept !== undefined) return kept;
  try {
    const text = area(kind)?.getItem(prefix + name);
    return text == null ? fallback : JSON.parse(text);
  } catch {
    return fallback;
  }
}

/** write stores a value, or removes it if it is null. It reports whether the browser keeps it. */
export function write(name, value, kind = 'local') {
  memory.delete(kind + name);
  try {
    if (value == null) area(kind)?.removeItem(prefix + name);
    else area(kind).setItem(prefix + name, JSON.stringify(value));
    return true;
  } catch {
    if (value != null) memory.set(kind + name, value);
    return false;
  }
}
