// Applies the chosen theme before the first paint, and marks the page as running scripts.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  let theme = null;
  try {
    theme = localStorage.getItem("theme"); // Django's admin stores its own theme under the same key
  } catch { /* the browser blocks storage */ }
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
})();
