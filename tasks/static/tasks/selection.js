// Threads that are selected in the list: how many, and all of the page at once.
"use strict";

const boxes = () => [...document.querySelectorAll("input[name=thread][form=selection]")];

function showSelection() {
  const button = document.getElementById("clear-selected");
  const all = document.getElementById("select-page");
  if (!button || !all) return;
  const count = boxes().filter((box) => box.checked).length;
  button.disabled = !count;
  button.form.classList.toggle("on", count > 0);
  button.textContent = count ? `Clear selected (${count})…` : "Clear selected…";
  all.checked = count > 0 && count === boxes().length;
  all.indeterminate = count > 0 && !all.checked;
}

document.addEventListener("change", (event) => {
  if (event.target.id === "select-page") for (const box of boxes()) box.checked = event.target.checked;
  showSelection();
});
// a row that has come may be unselected, and one that is gone takes its selection along
document.body.addEventListener("htmx:afterSwap", showSelection);
// a page that the browser kept comes back without a selection
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const box of boxes()) box.checked = false;
  showSelection();
});
showSelection();
