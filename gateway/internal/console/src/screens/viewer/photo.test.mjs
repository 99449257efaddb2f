import assert from 'node:assert/strict';
import test from 'node:test';
import { camera, exposure, mapLink, megapixels, place, stars, taken } from './photo.js';

test('camera', () => {
  assert.equal(camera({ camera_make: 'Google', camera_model: 'Pixel 8' }), 'Google Pixel 8');
  assert.equal(camera({ camera_make: 'NIKON CORPORATION', camera_model: 'NIKON D90' }), 'NIKON D90');
  assert.equal(camera({ camera_make: 'RICOH IMAGING COMPANY, LTD.', camera_model: 'PENTAX K-3 II' }), 'RICOH PENTAX K-3 II');
  assert.equal(camera({ camera_make: 'Leica Camera AG', camera_model: 'LEICA Q2' }), 'Leica Camera LEICA Q2');
  assert.equal(camera({ camera_make: 'Canon', camera_model: 'Canon EOS 5D' }), 'Canon EOS 5D');
  assert.equal(camera({ camera_model: 'Pixel 8' }), 'Pixel 8');
  assert.equal(camera({ camera_make: 'Google' }), 'Google');
  assert.equal(camera({}), '');
});

test('exposure', () => {
  assert.equal(exposure({ exposure_time: '1/250', f_number: 1.68, iso: 52, exposure_bias: 0, focal_length: 6.9, focal_length_35mm: 25, flash_fired: false }),
    '1/250 s · f/1.68 · ISO 52 · 6.9 mm (like 25 mm on 35 mm film) · no flash');
  assert.equal(exposure({ exposure_bias: -0.33, focal_length: 50, focal_length_35mm: 50, flash_fired: true }), '50 mm · −0.33 EV · with flash');
  assert.equal(exposure({ exposure_bias: 1, focal_length_35mm: 28 }), 'like 28 mm on 35 mm film · +1 EV');
  assert.equal(exposure({}), '');
});

test('the time of the camera does not depend on the time zone of the browser', () => {
  const before = process.env.TZ;
  for (const zone of ['UTC', 'Pacific/Auckland', 'America/Los_Angeles']) {
    process.env.TZ = zone;
    assert.match(taken('2025-06-21T23:42:07'), /21.*2025.*11:42:07|June 21, 2025.*11:42:07/);
    assert.match(taken('2025-06-21T23:42:07+02:00'), /21.*11:42:07.* UTC\+02:00$/);
    assert.match(taken('2025-06-21T23:42:07-07:00'), / UTC−07:00$/);
    assert.match(taken('2025-06-21T23:42:07Z'), / UTC$/);
  }
  process.env.TZ = before ?? '';
  assert.equal(taken('in summer'), 'in summer');
  assert.equal(taken('2025-99-21T23:42:07'), '2025-99-21T23:42:07');
});

test('place', () => {
  assert.equal(place({ latitude: 51.008611, longitude: 13.871389, altitude: 118.4 }), '51.008611° N, 13.871389° E, 118.4 m above sea level');
  assert.equal(place({ latitude: -33.86, longitude: -70.5, altitude: -3 }), '33.86° S, 70.5° W, 3 m below sea level');
  assert.equal(place({ latitude: 0, longitude: 13 }), '0° N, 13° E');
  assert.equal(mapLink({ latitude: -33.86, longitude: 151.2 }), 'https://www.openstreetmap.org/?mlat=-33.86&mlon=151.2#map=15/-33.86/151.2');
  assert.equal(mapLink({ latitude: '1&x=', longitude: 2 }), 'https://www.openstreetmap.org/?mlat=NaN&mlon=2#map=15/NaN/2');
});

test('small things', () => {
  assert.equal(stars(4), '★★★★☆ 4 of 5');
  assert.equal(stars(-1), 'rejected');
  assert.equal(megapixels(3024, 4032), '12.2 MP');
  assert.equal(megapixels(48, 32), '');
});
