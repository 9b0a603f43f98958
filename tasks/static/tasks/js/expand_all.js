// Expands or collapses everything that is folded in the entries, also in those that load later.

import { all } from "./dom.js";

const root = document.documentElement;
const isExpanded = () => root.classList.contains("expanded");

function setAll(open) {
  for (const details of all("#entries details")) details.open = open;
  root.classList.toggle("expanded", open);
}

export const toggleAll = () => setAll(!isExpanded());

addEventListener("click", (event) => { if (event.target.closest?.("#expand")) toggleAll(); });
addEventListener("htmx:load", () => { if (isExpanded()) setAll(true); });
