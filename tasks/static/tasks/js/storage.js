// Choices stored in the browser. Where the browser forbids it, they last until the page is left.

export function load(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}

export function save(key, value) {
  try { localStorage.setItem(key, value); } catch { /* not stored */ }
}
