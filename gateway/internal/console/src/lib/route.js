// Reading and writing the hash, without a browser.

const screens = [
  ['new', []],
  ['upload', ['uploads', ':id']],
  ['jobs', ['jobs']],
  ['job', ['jobs', ':id']],
  ['viewer', ['jobs', ':id', ':index']],
  ['system', ['system']],
];

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

// A hash that a person has cut or typed may have a broken escape.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** parse returns {name, params, query, hash} of a hash. query is a URLSearchParams, params has
 * `id` and, as a number, `index`. An unknown address has the name 'unknown'. */
export function parse(hash) {
  const text = hash.replace(/^#?\/?/, '');
  const [path, search = ''] = text.split(/\?(.*)/s);
  const segments = path.split('/').filter(Boolean).map(decoded);
  const query = new URLSearchParams(search);
  // The first release linked to a job by its ID alone.
  if (segments.length === 1 && uuid.test(segments[0])) segments.unshift('jobs');
  for (const [name, pattern] of screens) {
    if (pattern.length !== segments.length || !pattern.every((part, i) => part[0] === ':' || part === segments[i])) continue;
    const params = Object.fromEntries(pattern.flatMap((part, i) => (part[0] === ':' ? [[part.slice(1), segments[i]]] : [])));
    if ('index' in params) {
      if (!/^\d{1,6}$/.test(params.index)) break;
      params.index = Number(params.index);
    }
    return { name, params, query, hash };
  }
  return { name: 'unknown', params: {}, query, hash };
}

/** href returns the address of a screen: href('job', {id}, {show: 'failed'}) is
 * '#/jobs/ID?show=failed'. Members of the query that are null, undefined or '' are left out. */
export function href(name, params = {}, query = {}) {
  const [, pattern] = screens.find(([screen]) => screen === name);
  const path = pattern.map((part) => (part[0] === ':' ? encodeURIComponent(params[part.slice(1)]) : part)).join('/');
  const pairs = query instanceof URLSearchParams ? [...query] : Object.entries(query);
  const search = new URLSearchParams(pairs.filter(([, value]) => value != null && value !== '')).toString();
  return `#/${path}${search && `?${search}`}`;
}
