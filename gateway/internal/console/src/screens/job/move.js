// Moving in a grid with the keyboard.

/** move returns the index that a key leads to from another one, in a grid of count cells with so
 * many columns, or -1 if the key does not move. */
export function move(key, at, columns, count) {
  const last = count - 1;
  switch (key) {
    case 'ArrowRight':
      return Math.min(last, at + 1);
    case 'ArrowLeft':
      return Math.max(0, at - 1);
    case 'ArrowDown':
      if (at + columns <= last) return at + columns;
      // The last row may be shorter.
      return Math.floor(at / columns) < Math.floor(last / columns) ? last : at;
    case 'ArrowUp':
      return at >= columns ? at - columns : at;
    case 'Home':
      return 0;
    case 'End':
      return last;
    default:
      return -1;
  }
}
