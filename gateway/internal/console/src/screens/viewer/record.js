// The records of the images that are shown, and the schema that describes them.
import { jobPath, onKeyChange, request } from '../../lib/api.js';
import { useLoad } from '../../lib/load.js';

const most = 12; // records in memory
const kept = new Map(); // by path, the last used at the end
let schema = null;

onKeyChange(() => kept.clear());

function keep(path, record) {
  kept.delete(path);
  kept.set(path, record);
  if (kept.size > most) kept.delete(kept.keys().next().value);
  return record;
}

const pathOf = (id, index) => jobPath(id, `images/${index}/metadata`);

async function load(path, signal, background) {
  return keep(path, (await request('GET', path, { signal, background })).data);
}

/** useRecord returns {record, error, reload} of an image. A record that was loaded before is there
 * immediately, so that going from image to image does not flicker. */
export function useRecord(id, index, completed) {
  const path = completed ? pathOf(id, index) : '';
  const { data, error, reload } = useLoad((signal) => (path === '' ? null : kept.get(path) ?? load(path, signal)), [path]);
  const known = path === '' ? undefined : kept.get(path);
  return { record: known ?? data ?? null, error: known ? null : error, reload };
}

/** prefetchRecord loads the record of an image that is probably shown next. */
export function prefetchRecord(id, index) {
  const path = pathOf(id, index);
  if (!kept.has(path)) load(path, undefined, true).catch(() => {}); // it is loaded again when it is shown
}

/** useSchema returns {schema, error, reload}: what describes the values of records. */
export function useSchema() {
  const { data, error, reload } = useLoad(async (signal) => {
    schema ??= (await request('GET', 'api/v1/metadata.schema.json', { signal, background: true })).data;
    return schema;
  });
  return { schema: data ?? schema, error, reload };
}
