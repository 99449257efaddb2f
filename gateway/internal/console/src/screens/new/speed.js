// How fast an upload is.

const span = 8000; // ms that count
const least = 1500; // ms before which a guess would jump

/** Speed measures the bytes of the last seconds. */
export class Speed {
  #samples = [];

  /** reset forgets everything, after a pause. */
  reset() { this.#samples = []; }

  /** add takes the number of bytes that were sent so far. */
  add(sent, now = Date.now()) {
    if (sent < (this.#samples.at(-1)?.[1] ?? 0)) this.reset(); // a request has started again
    this.#samples.push([now, sent]);
    while (this.#samples.length > 2 && now - this.#samples[0][0] > span) this.#samples.shift();
  }

  /** left returns the ms for so many more bytes, or NaN while that is unknown. */
  left(missing) {
    if (this.#samples.length < 2) return NaN;
    const [[from, first], [to, last]] = [this.#samples[0], this.#samples.at(-1)];
    return to - from < least || last <= first ? NaN : (missing * (to - from)) / (last - first);
  }
}
