// Texts for numbers, sizes and times. The console is in English, so numbers are too; dates follow
// the browser, because 4/5/2026 has two meanings.

const numbers = new Intl.NumberFormat('en-US');

/** number returns 1,234. */
export const number = (n) => numbers.format(n);

/** plural returns "1 image" or "1,000 images". */
export const plural = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;

const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];

/** bytes returns "9.8 MB". A megabyte is 1,048,576 bytes, as in the limits of the API. With
 * `apartFrom`, the text has as many decimals as needed to differ from that size's: "10.001 MB" is
 * more than a limit of "10 MB". */
export function bytes(n, { apartFrom } = {}) {
  const text = (size, decimals) => {
    let unit = 0;
    let value = size;
    while (unit < units.length - 1 && value >= 999.5) {
      value /= 1024;
      unit++;
    }
    if (unit === 0) return value === 1 ? '1 byte' : `${value} bytes`;
    const rounded = value.toFixed(Math.max(value < 9.95 ? 1 : 0, decimals));
    return `${rounded.includes('.') ? rounded.replace(/\.?0+$/, '') : rounded} ${units[unit]}`;
  };
  if (apartFrom === undefined || apartFrom === n) return text(n, 0);
  for (let decimals = 0; decimals <= 6; decimals++) {
    if (text(n, decimals) !== text(apartFrom, decimals)) return text(n, decimals);
  }
  return `${number(n)} bytes`;
}

/** bytesOf returns "18 of 31 MB", or both units if they differ. */
export function bytesOf(done, total) {
  const [all, some] = [bytes(total), bytes(Math.min(done, total))];
  const unit = all.slice(all.indexOf(' '));
  if (done === 0) return `0 of ${all}`;
  return some.endsWith(unit) ? `${some.slice(0, -unit.length)} of ${all}` : `${some} of ${all}`;
}

/** duration returns "840 ms", "4.2 s", "1 min 5 s", "2 h 3 min" or "3 d 4 h". */
export function duration(ms) {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9950) return `${(ms / 1000).toFixed(1).replace(/\.0$/, '')} s`;
  const s = Math.round(ms / 1000);
  const pair = (large, size, small, unit) => (small ? `${large} ${size} ${small} ${unit}` : `${large} ${size}`);
  if (s < 60) return `${s} s`;
  if (s < 3600) return pair(Math.floor(s / 60), 'min', s % 60, 's');
  const min = Math.round(s / 60);
  if (min < 1440) return pair(Math.floor(min / 60), 'h', min % 60, 'min');
  const h = Math.round(min / 60);
  return pair(Math.floor(h / 24), 'd', h % 24, 'h');
}

/** timeLeft returns "4 s left" in steps that do not flicker, or nothing if it is unknown. */
export function timeLeft(ms) {
  if (!Number.isFinite(ms) || ms < 0) return '';
  const s = Math.max(1, Math.ceil(ms / 1000));
  const step = s < 10 ? 1 : s < 60 ? 5 : s < 600 ? 10 : 60;
  return `${duration(Math.ceil(s / step) * step * 1000)} left`;
}

/** ago returns "just now", "2 min ago", "3 h ago", or the date after a day. */
export function ago(time, now = Date.now()) {
  const s = Math.round((now - new Date(time).getTime()) / 1000);
  if (Number.isNaN(s)) return '';
  if (s < 45) return 'just now'; // a clock that differs a little is not in the future
  if (s < 3570) return `${Math.max(1, Math.round(s / 60))} min ago`;
  if (s < 86400) return `${Math.max(1, Math.round(s / 3600))} h ago`;
  return date(time);
}

/** date returns the day and the time in the browser's language and time zone. */
export function date(time) {
  const value = new Date(time);
  return Number.isNaN(value.getTime()) ? '' : value.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
}

/** percent returns "12 %" for 0.12. It shows 100 % only if nothing is missing. */
export function percent(part) {
  const value = part >= 1 ? 100 : Math.min(99, Math.round(part * 100));
  return `${value} %`;
}

/** shortId returns the first eight characters of an ID, as in "Job 4660c984". */
export const shortId = (id) => String(id).slice(0, 8);
