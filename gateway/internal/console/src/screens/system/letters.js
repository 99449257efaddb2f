// Dead letters as values.

/** grouped returns the dead letters by image and queue, as the API handles them, in their order:
 * [{key, queue, trace, letters}]. A message without an image is alone, and has no trace. */
export function grouped(letters) {
  const groups = new Map();
  for (const [i, letter] of letters.entries()) {
    const trace = /^[0-9a-f]{32}$/.test(letter.trace_id ?? '') ? letter.trace_id : '';
    const key = trace ? `${letter.queue}/${trace}` : `${letter.queue} ${i}`;
    if (!groups.has(key)) groups.set(key, { key, queue: letter.queue, trace, letters: [] });
    groups.get(key).letters.push(letter);
  }
  return [...groups.values()];
}

const words = {
  retried: 'Replayed: a new job retries the failed images',
  published: 'Replayed: the message is on its queue again',
  finished: 'Removed: the image had been completed already',
  left: 'The dead letter stays',
  dropped: 'Discarded',
};

/** ended returns what a replay or a removal has done: {tone, title, text, job}. */
export function ended(letters) {
  const left = letters.filter((letter) => letter.action === 'left');
  const done = letters.find((letter) => letter.action !== 'left') ?? letters[0];
  const title = words[done?.action] ?? 'Done';
  if (left.length > 0 && done.action !== 'left') return { tone: 'warn', title: `${title}, but ${left.length} of ${letters.length} stay`, text: left[0].detail, job: done.new_job_id };
  return { tone: left.length > 0 ? 'warn' : 'good', title: `${title}.`, text: left.length > 0 ? left[0].detail : '', job: done?.new_job_id };
}
