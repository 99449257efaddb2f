import '../lib/shared.js';
export { default } from '../screens/jobs.js';
