// A web site whose images arrive only when a scenario releases them, so that a job stays open as long as the scenario needs.

import { createServer } from 'node:http';
import { until } from './rig.mjs';

// Each image has an address of its own: the gateway does not load many images from one at a time.
const images = 12;

/** Starts a site and passes it to the function. The images of its URLs, url(0) to url(11), wait for their release. */
export async function withOrigin(act) {
  const waiting = new Map();
  const servers = await Promise.all([...Array(images).keys()].map((n) => new Promise((resolve) => {
    const server = createServer((_, response) => waiting.set(n, response));
    server.listen(0, `127.0.0.${n + 1}`, () => resolve(server));
  })));
  const origin = {
    url: (n) => `http://127.0.0.${n + 1}:${servers[n].address().port}/image${n}.jpg`,
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
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
  }
}
