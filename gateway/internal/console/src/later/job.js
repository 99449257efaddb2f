import '../lib/shared.js';
export { default } from '../screens/job.js';
