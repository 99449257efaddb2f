// The whole record as a list of values, each with what the JSON Schema says about it.

const plain = (value) => value === null || typeof value !== 'object';

/** valuesOf returns {path, group, value} for each value of a record, in its order. A list of plain
 * values is one value; members of objects have dotted paths, and the group is the path of the
 * object, '' for the record itself. */
export function valuesOf(record, group = '') {
  return Object.entries(record).flatMap(([name, value]) => {
    const path = group ? `${group}.${name}` : name;
    if (plain(value) || (Array.isArray(value) && value.every(plain))) return [{ path, group, value }];
    return valuesOf(value, path);
  });
}

/** textOf returns a value as a text, and of a list one text for each value. */
export const textOf = (value) => (typeof value === 'string' ? value : Array.isArray(value) ? value.map(textOf) : String(value));

/** descriptionOf returns what a JSON Schema says about a dotted path, or ''. It follows references
 * within the schema. */
export function descriptionOf(schema, path) {
  const resolved = (node) => (node?.$ref?.startsWith('#/$defs/') ? schema.$defs?.[node.$ref.slice(8)] : undefined);
  let node = schema;
  for (const name of path.split('.')) {
    const found = [node, resolved(node)].map((each) => (/^\d+$/.test(name) ? each?.items : each?.properties?.[name])).find(Boolean);
    if (!found) return '';
    node = found;
  }
  return node.description ?? resolved(node)?.description ?? '';
}

/** matches reports whether a value has all words of a search, in its path, its text or its
 * description. */
export function matches({ path, value }, description, search) {
  const text = [path, path.replaceAll(/[._]/g, ' '), textOf(value), description].flat().join('\n').toLowerCase();
  return search.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}
