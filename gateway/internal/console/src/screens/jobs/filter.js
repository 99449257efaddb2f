// The filters of the list, which are in the address: #/jobs?status=failed&q=IMG_10.

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** states are the filters that exclude each other: what they set, and the counts they have. */
export const states = [
  { word: 'All', counts: ['pending', 'processing', 'completed', 'failed', 'cancelled'] },
  { word: 'Waiting', query: { status: 'pending' }, counts: ['pending'] },
  { word: 'Processing', query: { status: 'processing' }, counts: ['processing'] },
  { word: 'Completed', query: { status: 'completed' }, counts: ['completed'] },
  { word: 'Failed', query: { status: 'failed' }, counts: ['failed'] },
  { word: 'Cancelled', query: { status: 'cancelled' }, counts: ['cancelled'] },
  { word: 'With failed images', query: { failed_images: 'true' }, counts: ['failed_images'] },
  { word: 'No caption', query: { uncaptioned: 'true' }, counts: ['uncaptioned'] },
];

const stateNames = ['status', 'failed_images', 'uncaptioned'];

// Filters that only links and people who know the API set. Each shows as a chip that removes it.
const others = { owner: 'Owner', upload: 'Upload', retry_of: 'Made from job', created_after: 'Created after', created_before: 'Created before' };

const known = [...stateNames, ...Object.keys(others), 'q', 'order'];

/** filterOf returns the filters in the query of an address, without what the list does not know. */
export const filterOf = (query) => Object.fromEntries(known.map((name) => [name, query.get(name)?.trim()]).filter(([, value]) => value));

/** withState returns the filter with another state. */
export const withState = (filter, state) => ({ ...without(filter, ...stateNames), ...state.query });

/** without returns the filter without some members. */
export const without = (filter, ...names) => Object.fromEntries(Object.entries(filter).filter(([name]) => !names.includes(name)));

/** hasState reports whether the filter has exactly this state. */
export const hasState = (filter, { query = {} }) => stateNames.every((name) => filter[name] === query[name]);

/** extras returns the other filters that are set, as {name, word, value}. */
export const extras = (filter) => Object.entries(others).filter(([name]) => filter[name]).map(([name, word]) => ({ name, word, value: filter[name] }));

/** narrowed reports whether there is a filter besides the state. */
export const narrowed = (filter) => Object.keys(without(filter, 'order', ...stateNames)).length > 0;

/** filtered reports whether the list may lack jobs. */
export const filtered = (filter) => Object.keys(without(filter, 'order')).length > 0;

/** jobIdOf returns the ID if the text is that of one job, as a whole, and '' otherwise. */
export const jobIdOf = (text) => (uuid.test(text.trim()) ? text.trim().toLowerCase() : '');
