import '../lib/shared.js';
export { default } from '../screens/system.js';
