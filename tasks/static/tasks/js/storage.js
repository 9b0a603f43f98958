// Choices stored in the browser. If it blocks storage, they last until the user leaves the page.

export function load(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}

export function save(key, value) {
  try { localStorage.setItem(key, value); } catch { /* not stored */ }
}
