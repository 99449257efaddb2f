// What the first screen needs. The chunks of later screens import all of it, so that esbuild puts
// it into one chunk rather than into one for each set of screens that need the same modules.
import './api.js';
import './counts.js';
import './format.js';
import './hash.js';
import './keydialog.js';
import './load.js';
import './release.js';
import './router.js';
import './state.js';
import './storage.js';
import './theme.js';
import './ui.js';
