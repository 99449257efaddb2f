import '../lib/shared.js';
export { default } from '../screens/upload.js';
