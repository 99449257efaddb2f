// The theme: that of the system, or the one that the person has chosen.
import { read, write } from './storage.js';
import { useEffect, useState } from './preact.js';

export const themes = ['auto', 'light', 'dark'];

const stored = () => {
  const value = read('theme');
  return themes.includes(value) ? value : 'auto';
};

function show(theme) {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** startTheme applies the stored choice before anything is drawn. */
export const startTheme = () => show(stored());

/** useTheme returns the choice and a function that changes it, in all tabs. */
export function useTheme() {
  const [theme, set] = useState(stored);
  useEffect(() => {
    const other = () => {
      set(stored());
      show(stored());
    };
    addEventListener('storage', other);
    return () => removeEventListener('storage', other);
  }, []);
  return [theme, (next) => {
    write('theme', next === 'auto' ? null : next);
    set(next);
    show(next);
  }];
}
