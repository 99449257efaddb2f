// What the cards show of the records of their images. The records of a job are one request, for
// results.jsonl, after the job has ended: one request for each record would be up to 100. Before
// that, and until it has arrived, a card does without.
import { jobPath, onConnection, onKeyChange, request } from '../../lib/api.js';
import { useEffect, useState } from '../../lib/preact.js';
import { ended } from '../../lib/state.js';

const most = 20; // jobs whose records stay in memory, more than an upload normally has
const loaded = new Map(); // arrays by the ID of the job, the oldest first
const listeners = new Set(); // {again, wanted}
let loading = false;

// parse returns the members that are shown, by the index of the image.
function parse(text) {
  const records = [];
  for (const line of text.split('\n')) {
    const { index, metadata } = line === '' ? {} : JSON.parse(line);
    if (!metadata) continue;
    records[index] = {
      alt: metadata.alt_text ?? '',
      thumbhash: metadata.thumbhash ?? '',
      captioned: Boolean(metadata.captioned?.length),
      bytes: metadata.processed?.file_size ?? 0,
    };
  }
  return records;
}

// loadAll loads what the listeners want, one job after another.
async function loadAll() {
  if (loading) return;
  loading = true;
  const failed = new Set(); // in this round; the next one has another chance
  const next = () => [...listeners].flatMap((listener) => listener.wanted).find((id) => !loaded.has(id) && !failed.has(id));
  for (let id; (id = next());) {
    try {
      const { data } = await request('GET', jobPath(id, 'results.jsonl'), { as: 'text', background: true });
      loaded.set(id, parse(data));
      if (loaded.size > most) loaded.delete(loaded.keys().next().value);
      for (const { again } of listeners) again((n) => n + 1);
    } catch {
      failed.add(id);
    }
  }
  loading = false;
}

onConnection((now) => now && loadAll());
onKeyChange(() => {
  loaded.clear();
  loadAll();
});

/** useRecords returns a function that returns what is known of an image, or undefined: {alt,
 * thumbhash, captioned, bytes}. */
export function useRecords(jobs) {
  const [, again] = useState(0);
  const wanted = jobs.filter((job) => ended(job) && job.completed > 0).map((job) => job.job_id).slice(0, most);
  useEffect(() => {
    const listener = { again, wanted };
    listeners.add(listener);
    loadAll();
    return () => listeners.delete(listener);
  }, [wanted.join()]);
  return (id, index) => loaded.get(id)?.[index];
}
