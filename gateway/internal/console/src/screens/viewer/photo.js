// What the camera says, in words.
import { number } from '../../lib/format.js';

// Forms of companies that makers write after their names.
const company = /[\s,]+(?:imaging|optical|electronics|corporation|corp|company|co|inc|ltd|gmbh|ag)\b.*$/i;

/** camera returns "Google Pixel 8", or "Canon EOS 5D" where the model repeats the maker. */
export function camera({ camera_make: make = '', camera_model: model = '' }) {
  const maker = make.replace(company, '');
  return model.toLowerCase().startsWith(maker.toLowerCase()) && model ? model : [maker, model].filter(Boolean).join(' ');
}

const signed = (value) => `${value > 0 ? '+' : value < 0 ? '−' : '±'}${Math.abs(value)}`;

/** exposure returns "1/250 s · f/1.68 · ISO 52 · 6.9 mm (25 mm in 35 mm format) · −0.3 EV · flash". */
export function exposure(exif) {
  const { exposure_time: time, f_number: aperture, iso, exposure_bias: bias, focal_length: focal, focal_length_35mm: equivalent, flash_fired: flash } = exif;
  return [
    time && `${time} s`,
    aperture && `f/${aperture}`,
    iso && `ISO ${iso}`,
    focal ? `${focal} mm${equivalent && equivalent !== focal ? ` (like ${equivalent} mm on 35 mm film)` : ''}` : equivalent && `like ${equivalent} mm on 35 mm film`,
    bias && `${signed(bias)} EV`,
    flash === true && 'with flash',
    flash === false && 'no flash',
  ].filter(Boolean).join(' · ');
}

/** taken returns the time on the camera's clock, which may lack a time zone: the browser's would
 * be wrong. */
export function taken(text) {
  const [, time, zone] = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(Z|[+-]\d\d:\d\d)?$/.exec(text) ?? [];
  const value = new Date(`${time}Z`);
  if (Number.isNaN(value.getTime())) return text;
  const shown = value.toLocaleString(undefined, { dateStyle: 'long', timeStyle: 'medium', timeZone: 'UTC' });
  return `${shown}${zone === undefined ? '' : zone === 'Z' ? ' UTC' : ` UTC${zone.replace('-', '−')}`}`;
}

const degrees = (value, positive, negative) => `${Math.abs(value)}° ${value < 0 ? negative : positive}`;

/** place returns "51.008611° N, 13.871389° E, 118.4 m above sea level". */
export function place({ latitude, longitude, altitude }) {
  const height = altitude === undefined ? [] : [`${number(Math.abs(altitude))} m ${altitude < 0 ? 'below' : 'above'} sea level`];
  return [degrees(latitude, 'N', 'S'), degrees(longitude, 'E', 'W'), ...height].join(', ');
}

/** mapLink returns the address of the place on OpenStreetMap. */
export function mapLink({ latitude, longitude }) {
  const [lat, lon] = [Number(latitude), Number(longitude)];
  return `https://www.openstreetmap.org/?mlat=${lat}&mlon=${lon}#map=15/${lat}/${lon}`;
}

/** stars returns "★★★★☆ 4 of 5" or "rejected". */
export const stars = (rating) => (rating < 0 ? 'rejected' : `${'★'.repeat(rating)}${'☆'.repeat(Math.max(0, 5 - rating))} ${rating} of 5`);

/** megapixels returns "12.2 MP", or nothing for a small picture. */
export const megapixels = (width, height) => (width * height < 95_000 ? '' : `${(width * height / 1e6).toFixed(1)} MP`);
