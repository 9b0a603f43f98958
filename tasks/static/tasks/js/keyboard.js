// Single-key shortcuts. Page scripts add their own; users can turn them all off.

import { load, save } from "./storage.js";

// Maps keys to actions. An action that returns false leaves the key to the browser.
export const shortcuts = new Map();

const toggle = document.getElementById("keys-on");
if (toggle) { // the admin has no shortcuts
  toggle.checked = load("keys") !== "off";
  toggle.addEventListener("change", () => save("keys", toggle.checked ? "on" : "off"));
  shortcuts.set("?", () => document.getElementById("help").showModal());
}

function isTextField(element) {
  return element.matches("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.key === "Escape") return closeMenuOrLeaveField(event.target);
  if (!toggle?.checked || isTextField(event.target) || document.querySelector("dialog[open]")) return;
  const action = shortcuts.get(event.key);
  if (action && action() !== false) event.preventDefault();
});

function closeMenuOrLeaveField(element) {
  const menu = document.querySelector("details.menu[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  } else if (isTextField(element)) element.blur();
}
