// What Imagebatch has written into a file, in sentences.
import { bytes, number } from '../../lib/format.js';

const fields = { title: 'title', description: 'description', keywords: 'keywords', alt_text: 'alt text' };
const list = (words) => (words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`);

/** written returns sentences about the differences between the file that came in and the one that
 * was written. */
export function written({ sha256, file_size: before, captioned = [], processed }) {
  if (!processed) return [];
  if (processed.sha256 === sha256) {
    return ['Nothing was written: the file is the original, bit for bit.', ...sidecar(processed)];
  }
  const sentences = [];
  if (processed.xmp === 'added') sentences.push('An XMP packet with the measured values was added. The file had none.');
  if (processed.xmp === 'merged') sentences.push('The measured values were added to the XMP packet of the file. Everything of other programs in it stayed.');
  if (processed.xmp === 'none') sentences.push('No XMP was written.');
  if (processed.xmp !== 'none' && captioned.length > 0) {
    sentences.push(`The model's ${list(captioned.map((name) => fields[name] ?? name))} ${captioned.length === 1 && captioned[0] !== 'keywords' ? 'is' : 'are'} in that packet too, marked as a model's, unless this gateway is set to write no texts (EMBED_DESCRIPTIVE).`);
  }
  if (processed.exif === 'filled') sentences.push('The description was also written to the EXIF field ImageDescription, where nobody had written one.');
  if (processed.iptc === 'filled') sentences.push('Texts were also written to IPTC, where nobody had written any.');
  if (processed.gps === 'removed') sentences.push('The GPS position was removed.');
  if (processed.gps === 'none') sentences.push('GPS positions are removed here; none was found.');
  const change = processed.file_size - before;
  sentences.push(`${change === 0 ? 'The file has the same size as before' : `The file is ${sizeOf(Math.abs(change))} ${change > 0 ? 'larger' : 'smaller'}`}: ${bytes(processed.file_size)}. The pixels are those of the original.`);
  return [...sentences, ...sidecar(processed)];
}

const sizeOf = (n) => (n < 1024 ? `${number(n)} ${n === 1 ? 'byte' : 'bytes'}` : bytes(n));

const sidecar = (processed) => (processed.sidecar === 'added' ? ['The XMP is also in a file of its own, the sidecar.'] : []);
