import '../lib/shared.js';
export { default } from '../screens/viewer.js';
