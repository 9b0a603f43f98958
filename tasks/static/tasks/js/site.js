// The script that every page loads.

import "./theme_switch.js";
import "./times.js";
import "./keyboard.js";
import "./menus.js";

// On a phone, rows of chips and tabs scroll: bring the current one into view.
for (const current of document.querySelectorAll(".chips [aria-current], .tabs [aria-current]")) {
  const row = current.parentElement;
  row.scrollLeft = current.offsetLeft - row.offsetLeft - (row.clientWidth - current.offsetWidth) / 2;
}
