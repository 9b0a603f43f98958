// Buttons that copy a text, even without the clipboard API, which is missing over plain HTTP.

import { COPIED_MS } from "./refresh_intervals.js";

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyThroughSelection(text);
  }
}

function copyThroughSelection(text) {
  const focused = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  focused?.focus({ preventScroll: true });
  return isCopied;
}

addEventListener("click", async (event) => {
  const button = event.target.closest?.("button.copy");
  if (!button) return;
  const text = button.dataset.text ?? document.querySelector(button.dataset.copy).innerText;
  const isCopied = await copy(text);
  const success = "part" in button.dataset ? "Copied the visible part" : "Copied";
  button.dataset.status = isCopied ? success : "Could not copy";
  clearTimeout(button.timer);
  button.timer = setTimeout(() => delete button.dataset.status, COPIED_MS);
});
