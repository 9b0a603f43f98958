// The script that every page loads.

import "./theme_switch.js";
import "./times.js";
import "./keyboard.js";
import "./menus.js";

// On a phone, rows of pages, chips and tabs scroll: bring the current one into view.
const rows = ".top nav, .chips, .tabs";
for (const current of document.querySelectorAll(`:is(${rows}) > [aria-current]`)) {
  const row = current.parentElement;
  row.scrollLeft = current.offsetLeft - row.offsetLeft - (row.clientWidth - current.offsetWidth) / 2;
}
