// What the cards show of the records of their images. The records of a job are one request, for
// results.jsonl, after the job has ended: one request for each record would be up to 100.
import { jobPath, onConnection, onKeyChange, request } from '../../lib/api.js';
import { useEffect, useState } from '../../lib/preact.js';
import { ended } from '../../lib/state.js';

const most = 20; // jobs whose records stay in memory, more than an upload normally has
const loaded = new Map(); // arrays by the ID of the job, the oldest first

// parse returns the members that are shown, by the index of the image.
function parse(text) {
  const records = [];
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const { index, metadata } = JSON.parse(line);
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

async function load(id, signal) {
  const { data } = await request('GET', jobPath(id, 'results.jsonl'), { as: 'text', signal, background: true });
  loaded.set(id, parse(data));
  if (loaded.size > most) loaded.delete(loaded.keys().next().value);
}

onKeyChange(() => loaded.clear());

/** useRecords returns a function that returns what is known of an image, or undefined: {alt,
 * thumbhash, captioned, bytes}. Jobs that have not ended have no records yet. */
export function useRecords(jobs) {
  const [, again] = useState(0);
  const [round, retry] = useState(0);
  const missing = jobs.filter((job) => ended(job) && job.completed > 0 && !loaded.has(job.job_id)).map((job) => job.job_id).slice(0, most);
  useEffect(() => {
    if (missing.length === 0) return undefined;
    const stop = new AbortController();
    let off = () => {};
    (async () => {
      try {
        for (const id of missing) {
          await load(id, stop.signal);
          again((n) => n + 1);
        }
      } catch (err) {
        // The cards do without. After a lost connection, they get another chance.
        if (err.status === 0 && !stop.signal.aborted) off = onConnection((now) => now && retry((n) => n + 1));
      }
    })();
    return () => {
      stop.abort();
      off();
    };
  }, [missing.join(), round]);
  return (id, index) => loaded.get(id)?.[index];
}
