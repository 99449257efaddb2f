// Decoding a ThumbHash, the blurred placeholder of at most 25 bytes in the record of an image. The
// format is by Evan Wallace.

/** decodeThumbHash returns {width, height, pixels} of a hash in Base64, with RGBA pixels, the long
 * side 32 pixels, or null if the text is no such hash. */
export function decodeThumbHash(base64) {
  let bytes;
  try {
    bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  } catch {
    return null;
  }
  if (bytes.length < 5) return null;
  const header = bytes[0] | (bytes[1] << 8) | (bytes[2] << 16);
  const header2 = bytes[3] | (bytes[4] << 8);
  const alpha = header >> 23 !== 0;
  const landscape = header2 >> 15 !== 0;
  const short = header2 & 7;
  const long = alpha ? 5 : 7;
  const [lx, ly] = (landscape ? [long, short] : [short, long]).map((n) => Math.max(3, n));
  let at = alpha ? 6 : 5;
  if (bytes.length < at) return null;
  let odd = false;
  // Four bits for each coefficient.
  const channel = (nx, ny, scale) => {
    const ac = [];
    for (let cy = 0; cy < ny; cy++) {
      for (let cx = cy ? 0 : 1; cx * ny < nx * (ny - cy); cx++) {
        const nibble = odd ? bytes[at++] >> 4 : bytes[at] & 15;
        odd = !odd;
        ac.push((nibble / 7.5 - 1) * scale);
      }
    }
    return ac;
  };
  // The colors are saturated a little, as the format wants.
  const luma = channel(lx, ly, ((header >> 18) & 31) / 31);
  const p = channel(3, 3, (((header2 >> 3) & 63) / 63) * 1.25);
  const q = channel(3, 3, (((header2 >> 9) & 63) / 63) * 1.25);
  const transparency = alpha ? channel(5, 5, (bytes[5] >> 4) / 15) : [];
  if (at + (odd ? 1 : 0) > bytes.length) return null;
  const dc = { l: (header & 63) / 63, p: ((header >> 6) & 63) / 31.5 - 1, q: ((header >> 12) & 63) / 31.5 - 1, a: alpha ? (bytes[5] & 15) / 15 : 1 };

  const ratio = Math.max(1, short) / long;
  const [width, height] = [landscape || ratio > 1 ? 32 : Math.round(32 * ratio), landscape ? Math.round(32 * ratio) : 32];
  const cosines = (size) => Array.from({ length: size }, (_, x) => Array.from({ length: 7 }, (__, n) => Math.cos((Math.PI / size) * (x + 0.5) * n)));
  const [across, down] = [cosines(width), cosines(height)];
  const value = (start, ac, nx, ny, fx, fy) => {
    let sum = start;
    for (let cy = 0, i = 0; cy < ny; cy++) {
      for (let cx = cy ? 0 : 1; cx * ny < nx * (ny - cy); cx++, i++) sum += ac[i] * fx[cx] * fy[cy] * 2;
    }
    return sum;
  };
  const pixels = new Uint8ClampedArray(width * height * 4);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i += 4) {
      const [fx, fy] = [across[x], down[y]];
      const l = value(dc.l, luma, lx, ly, fx, fy);
      const yellow = value(dc.p, p, 3, 3, fx, fy);
      const red = value(dc.q, q, 3, 3, fx, fy);
      const b = l - (2 / 3) * yellow;
      const r = (3 * l - b + red) / 2;
      pixels.set([r, r - red, b, alpha ? value(dc.a, transparency, 5, 5, fx, fy) : 1].map((part) => part * 255), i);
    }
  }
  return { width, height, pixels };
}
