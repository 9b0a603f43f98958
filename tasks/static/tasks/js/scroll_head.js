// The slim head that is shown once the page's own has scrolled away: title, status, the current step,
// and the row of the timeline that has it. Only copies what is on the page.

import { all, one } from "./dom.js";
import { entries } from "./entries.js";
import { barOf } from "./timeline.js";

const head = one("#scroll-head");
const strip = one(".strip", head);
const timeline = one("#timeline");
let row; // the row of the timeline that is copied

function copyRow(current) {
  const svg = (current ?? all(".step-bar", timeline).at(-1))?.closest("svg");
  if (svg !== row) {
    row = svg;
    strip.replaceChildren(...(svg ? [svg.cloneNode(true)] : []));
    for (const link of all("a", strip)) link.tabIndex = -1;
  }
  all("[aria-current]", strip).forEach((bar) => bar.removeAttribute("aria-current"));
  if (!current) return;
  const index = all(".step-bar", svg).indexOf(current);
  all(".step-bar", strip)[index].setAttribute("aria-current", "true");
}

// The last entry with a step that begins no lower than where an entry is scrolled to, or the last
// of all at the end of the page.
function currentEntry() {
  const limit = parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop) + 16;
  const list = entries().filter((entry) => entry.dataset.step);
  if (innerHeight + scrollY >= document.documentElement.scrollHeight - 4) return list.at(-1);
  return list.findLast((entry) => entry.getBoundingClientRect().top < limit) ?? list[0];
}

function update() {
  head.hidden = timeline.getBoundingClientRect().bottom > 0;
  if (head.hidden) return;
  one(".to-top", head).textContent = one("#head h1").textContent;
  one(".scroll-status", head).replaceChildren(one("#head .badge").cloneNode(true));
  const entry = currentEntry();
  one(".place", head).textContent = entry?.dataset.place ?? "";
  copyRow(entry && barOf(Number(entry.dataset.step)));
}

one(".to-top", head).addEventListener("click", (event) => {
  event.preventDefault();
  scrollTo({ top: 0 });
});
for (const name of ["scroll", "resize", "htmx:load"]) addEventListener(name, update, { passive: true });
const live = new MutationObserver(() => { row = undefined; update(); });
for (const part of [timeline, one("#head")]) live.observe(part, { subtree: true, childList: true });
update();
