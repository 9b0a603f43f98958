// Runs before the first paint: the chosen theme, and that there is script at all.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  let theme = null;
  try {
    theme = localStorage.getItem("theme"); // Django's admin keeps its own there too
  } catch { /* a browser may forbid it */ }
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
})();
