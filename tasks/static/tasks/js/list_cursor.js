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

// A click anywhere in a row opens its thread, unless it selects text.
document.addEventListener("click", (event) => {
  const row = event.target.closest(".list:not(.cleared) tbody tr");
  if (!row || event.target.closest("a, button, input, label, td.select") || getSelection().toString()) return;
  const { ctrlKey, metaKey, shiftKey } = event;
  row.querySelector("a.title")?.dispatchEvent(new MouseEvent("click", {
    ctrlKey, metaKey, shiftKey, bubbles: true, cancelable: true,
  }));
});

const search = document.getElementById("search");
if (search) shortcuts.set("/", () => { search.focus(); search.select(); });
shortcuts.set("x", () => {
  const box = document.activeElement.closest(".list tbody tr")?.querySelector("input[name=thread]");
  if (!box) return false;
  box.click();
});
shortcuts.set("j", () => moveCursor(1));
shortcuts.set("k", () => moveCursor(-1));
