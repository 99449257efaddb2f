// What a new job was made from, for its screen: this page knows how many images were wanted.

const most = 20;
const notes = new Map();

/** made remembers a job that the page has just created: {text, wanted}. wanted is the number of
 * images that it should have. */
export function made(id, note) {
  notes.set(id, note);
  if (notes.size > most) notes.delete(notes.keys().next().value);
}

/** noteOf returns what made has remembered, or undefined. */
export const noteOf = (id) => notes.get(id);

/** forgetNote ends the note of a job. */
export const forgetNote = (id) => notes.delete(id);
