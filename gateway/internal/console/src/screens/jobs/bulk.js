// Actions on several jobs, a few requests at a time.

const parallel = 4;
const maxTries = 4;

/** each calls act(item) for all items, at most four at a time, and waits where the gateway asks for
 * it. It returns [{item, value}] and, for those that failed, [{item, error}], in the order of items.
 * After signal is aborted, it starts no more. */
export async function each(items, act, { onProgress = () => {}, signal, sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms)) } = {}) {
  const results = [];
  let next = 0;
  let done = 0;
  const attempt = async (item) => {
    for (let tries = 1; ; tries++) {
      try {
        return { item, value: await act(item) };
      } catch (error) {
        if (tries === maxTries || signal?.aborted || ![429, 503].includes(error.status)) return { item, error };
        await sleep(Math.min(error.retryAfter || tries, 30) * 1000);
      }
    }
  };
  const lane = async () => {
    while (next < items.length && !signal?.aborted) {
      const at = next++;
      results[at] = await attempt(items[at]);
      onProgress(++done);
    }
  };
  await Promise.all(Array.from({ length: Math.min(parallel, items.length) }, lane));
  return results;
}
