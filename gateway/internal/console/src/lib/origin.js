// Where a text of an image comes from: its file, a vision model, or the measurements from which
// Imagebatch composes it. The console says so in words as well as by mark and color. The mark is
// drawn as a letter in a circle, because some fonts lack ⓜ and ⓒ.

const origins = {
  own: { origin: 'own', word: 'from the file', mark: '', className: 'origin-own' },
  model: { origin: 'model', word: 'by a model', mark: 'm', className: 'origin-model' },
  composed: { origin: 'composed', word: 'composed', mark: 'c', className: 'origin-composed' },
};

/** originOf returns {origin, word, mark, className, model} of a field of a record (title,
 * description, keywords or alt_text), or null if the record has no such text. model is the name
 * of the model, or '' if no model wrote it or its name is not known: a file that a model
 * described before it was sent has only the mark. */
export function originOf(record, field) {
  const value = record?.[field];
  if (value == null || value.length === 0) return null;
  if (record.composed?.includes(field)) return { ...origins.composed, model: '' };
  if (!record.captioned?.includes(field)) return { ...origins.own, model: '' };
  const model = record.caption?.model ?? '';
  return { ...origins.model, model, word: model ? `by the model ${model}` : origins.model.word };
}

/** hasModelTexts reports whether a model wrote any text of the record. */
export const hasModelTexts = (record) => Boolean(record?.captioned?.length);
