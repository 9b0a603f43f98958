// Keyboard shortcuts for the list. Its cursor is the link that has the focus.

import { shortcuts } from "./keyboard.js";

function moveCursor(by) {
  const links = [...document.querySelectorAll(".list .title")];
  if (!links.length) return false;
  const row = document.activeElement.closest(".list tbody tr") || lastOpened();
  const current = row ? links.indexOf(row.querySelector(".title")) : -1;
  const next = current < 0 ? 0 : Math.min(Math.max(current + by, 0), links.length - 1);
  links[next].focus();
  links[next].closest("tr").scrollIntoView({ block: "nearest" });
}

// The row of the thread opened last, where the cursor starts after a return to the list.
const lastOpened = () => history.state && document.getElementById(history.state.opened);

document.addEventListener("click", (event) => {
  const row = event.target.closest("a") && event.target.closest(".list tbody tr");
  if (row) history.replaceState({ ...history.state, opened: row.id }, "");
});

const search = document.getElementById("search");
if (search) shortcuts.set("/", () => { search.focus(); search.select(); });
shortcuts.set("j", () => moveCursor(1));
shortcuts.set("k", () => moveCursor(-1));
