// Requests to the test that runs the scenarios: it starts the systems and stands between the browser and the gateways.

/** Sends a request about a system. The error of a system that cannot run here has the member `absent`. */
export async function request(system, action, body = {}) {
  const response = await fetch(`${process.env.CONTROL}/${system}/${action}`, { method: 'POST', body: JSON.stringify(body) });
  const text = await response.text();
  if (response.ok) return JSON.parse(text);
  throw Object.assign(new Error(`${system}/${action}: ${text.trim()}`), response.status === 424 && { absent: text.trim() });
}

/** What a scenario can do to its system. */
export function controlOf(system) {
  const control = {
    killed: new Set(),
    /**
     * Sets the conditions, instead of those before:
     * - gateway: index of the gateway that the browser reaches; open connections stay with theirs until `cut`
     * - offline: no connection works
     * - bad_gateway: each request gets the 502 of a proxy
     * - no_websockets, no_events: each WebSocket, each event stream gets a 403
     * - max_body: larger requests get the 413 of a proxy
     * - hold_batches, lose_batches: the gateway receives new batches, but its responses wait until the conditions change, are lost
     */
    set: (conditions) => request(system, 'conditions', conditions),
    /** Closes all connections of the browser. */
    cut: () => request(system, 'cut'),
    /** Kills a gateway with signal 9. */
    kill: async (gateway = 0) => {
      control.killed.add(gateway);
      await request(system, 'kill', { gateway });
    },
    /** Starts a killed gateway again, with the same port and data, and waits until it is ready. */
    start: async (gateway = 0) => {
      await request(system, 'start', { gateway });
      control.killed.delete(gateway);
    },
    restart: async (gateway = 0) => {
      await control.kill(gateway);
      await control.start(gateway);
    },
    /** Sets what the model's server does (ok, refused or down), if there is an answer, and returns {pictures}: how many it got. */
    model: (answer = '') => request(system, 'model', { answer }),
    /** Sets what the model answers about all images from now on: {title, description, keywords, alt_text}. */
    caption: (answer) => request(system, 'caption', { caption: answer }),
    /** Adds a dead letter about an image, {job_id, index, name}, as if an analyzer had failed at it five times. Only with a broker. */
    bury: (image) => request(system, 'dead_letter', image),
    /** Undoes what a scenario has left. */
    reset: async () => {
      for (const gateway of control.killed) await control.start(gateway);
      await control.set({});
    },
  };
  return control;
}
