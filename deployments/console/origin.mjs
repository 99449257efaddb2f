// A web site whose images arrive only when a scenario releases them, so that a job stays open as long as the scenario needs.

import { createServer } from 'node:http';
import { until } from './rig.mjs';

/** Starts a site and passes it to the function. The images of its URLs, url(0), url(1) and so on, wait for their release. */
export async function withOrigin(act) {
  const waiting = new Map();
  const server = createServer((request, response) => waiting.set(Number(/\d+/.exec(request.url)[0]), response));
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const origin = {
    url: (n) => `http://127.0.0.1:${server.address().port}/image${n}.jpg`,
    /** Waits until the gateway has requested image n, and sends it the data, or the status of an error. */
    release: async (n, answer) => {
      const response = await until(() => waiting.get(n), `the request for image ${n}`);
      waiting.delete(n);
      if (typeof answer === 'number') response.writeHead(answer).end();
      else response.writeHead(200, { 'Content-Type': 'image/jpeg' }).end(answer);
    },
  };
  try {
    return await act(origin);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}
