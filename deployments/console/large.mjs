// An upload that is too large to be processed in a test: the page gets it from here instead of from the gateway.

import { tile } from './files.mjs';

const range = (n) => [...Array(n).keys()];

/**
 * Answers the page's requests about the upload `large`: n jobs of a hundred images each, all of which look like those of a completed
 * job. onThumbnail is called for each thumbnail.
 */
export async function largeUpload(page, job, n, onThumbnail = () => {}) {
  const jobs = range(n).map((i) => ({ ...job, job_id: `${i}0000000-0000-4000-8000-000000000000`, total_images: 100, completed: 100, metadata: { upload: 'large' } }));
  await page.route('**/api/v1/batch?upload=large&**', (route) => route.fulfill({ json: { jobs } }));
  for (const [i, each] of jobs.entries()) {
    const images = range(100).map((index) => ({ ...job.images[0], index, original_filename: `${i}_${index}.jpg` }));
    const at = `**/api/v1/batch/${each.job_id}`;
    await page.route(at, (route) => route.fulfill({ json: { ...each, images } }));
    await page.route(`${at}/results.jsonl`, (route) => route.fulfill({ body: '' }));
    await page.route(`${at}/images/*/thumbnail`, (route) => {
      onThumbnail();
      return route.fulfill({ body: tile(), contentType: 'image/png' });
    });
  }
}
