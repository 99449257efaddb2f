// Small helpers that also work on plain HTTP by host name, where browsers hide crypto.subtle and
// crypto.randomUUID.

/** randomId returns a random UUID (RFC 9562, version 4), for example for an Idempotency-Key. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** hashText returns 16 hex digits that differ for different texts by chance, not against an
 * attacker: FNV-1a with 64 bits. It is for short texts, such as a name with a size and a time. */
export function hashText(text) {
  let sum = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) sum = BigInt.asUintN(64, (sum ^ BigInt(byte)) * 0x100000001b3n);
  return sum.toString(16).padStart(16, '0');
}
