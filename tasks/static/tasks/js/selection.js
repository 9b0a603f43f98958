// Selection of threads in the list: counts them, and selects all threads on the page.

const boxes = () => [...document.querySelectorAll("input[name=thread][form=selection]")];

function updateSelection() {
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

// Shift-click selects, or deselects, all rows from the one clicked before.
let clicked = null;
document.addEventListener("click", (event) => {
  const list = boxes();
  const [from, to] = [list.indexOf(clicked), list.indexOf(event.target)];
  if (to < 0) return;
  if (event.shiftKey && from >= 0) {
    for (const box of list.slice(Math.min(from, to), Math.max(from, to))) box.checked = event.target.checked;
  }
  clicked = event.target;
});

document.addEventListener("change", (event) => {
  if (event.target.id === "select-page") for (const box of boxes()) box.checked = event.target.checked;
  updateSelection();
});
// A poll may add an unselected row or remove a selected one.
document.body.addEventListener("htmx:afterSwap", updateSelection);
// Clear the selection when the browser restores the page from its back/forward cache.
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const box of boxes()) box.checked = false;
  updateSelection();
});
updateSelection();
