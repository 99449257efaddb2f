// How images are divided into requests, and what a request has.

/** maxRequestBytes is the size of a request. Cloudflare takes 100 MB, and after a broken connection
 * a request starts again. */
export const maxRequestBytes = 50 << 20;

const partBytes = 512; // for the headers of an image in the form, and its ID in the options

/** sizeOf returns about how many bytes an image adds to a request. */
export const sizeOf = (item) => (item.url ? item.url.length : item.size + item.path.length) + partBytes;

/** bytesOf returns the bytes of a list of images. */
export const bytesOf = (items) => items.reduce((sum, item) => sum + sizeOf(item), 0);

/** plan divides images into requests, in their order. An image that is larger than maxBytes gets
 * its own request. */
export function plan(items, { maxBytes, maxImages }) {
  const requests = [];
  let bytes = Infinity;
  for (const item of items) {
    const size = sizeOf(item);
    if (bytes + size > maxBytes || requests.at(-1).length >= maxImages) {
      requests.push([]);
      bytes = 0;
    }
    requests.at(-1).push(item);
    bytes += size;
  }
  return requests;
}

const maxCustomId = 255; // bytes; the gateway ignores a longer one

/** optionsOf returns the first part of the form. It must stay the same when a request is repeated:
 * the gateway compares it. */
export function optionsOf(items, { id, label, captions }, number) {
  const ids = items.map((item) => (new TextEncoder().encode(item.path).length > maxCustomId ? null : item.path));
  return {
    custom_ids: ids,
    metadata: { upload: id, label, part: String(number) },
    ...(captions === false && { captions }),
  };
}

/** formOf returns the form of a request. The browser reads the files while it sends them, so that
 * their size does not matter. */
export function formOf(items, upload, number) {
  const form = new FormData();
  form.append('options', JSON.stringify(optionsOf(items, upload, number)));
  for (const item of items) {
    if (item.url) form.append('url', item.url);
    else form.append('image', item.file, item.name);
  }
  return form;
}

/** labelOf returns what a person would call the images: their folder, or the name of the first. */
export function labelOf(items) {
  const folder = (path) => path.split('/').slice(0, -1)[0] ?? '';
  const [first] = items;
  const top = first.url ? '' : folder(first.path);
  const shared = top && items.every((item) => !item.url && folder(item.path) === top);
  const text = shared ? top : items.length === 1 ? first.name : `${first.name} and ${(items.length - 1).toLocaleString('en-US')} more`;
  return Array.from(text).slice(0, 100).join(''); // a value of metadata has at most 512 bytes
}

/** captionTokens estimates how many tokens of a vision model some images cost, for images of 3:2
 * with a long side of so many pixels. It counts as docs/captions.md does under "What it costs":
 * OpenAI's gpt-4.1-mini has 1.62 tokens for each patch of 32 × 32 pixels
 * (platform.openai.com/docs/guides/images-vision, "Calculating costs") and at most 1,536 patches;
 * the prompt has about 300 and the answer about 150. Other models differ by a factor of two: Gemma 3
 * counts 256 for any image. The number is rounded to two digits. */
export function captionTokens(images, pixels) {
  const patches = Math.min(1536, Math.ceil(pixels / 32) * Math.ceil((pixels * 2) / 3 / 32));
  const tokens = images * (patches * 1.62 + 300 + 150);
  return tokens === 0 ? 0 : Number(tokens.toPrecision(2));
}
