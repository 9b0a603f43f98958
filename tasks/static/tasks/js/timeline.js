// The timeline of a thread's steps: current bar, keyboard control, and scrolling on narrow screens.

import { all, one } from "./dom.js";

const timeline = one("#timeline");
const axes = () => one(".axes", timeline);
const bars = () => all(".step-bar", timeline);

export function markCurrentBar(stepId) {
  all(".step-bar[aria-current]", timeline).forEach((bar) => bar.removeAttribute("aria-current"));
  if (!stepId) return;
  const bar = barOf(stepId);
  bar?.setAttribute("aria-current", "true");
  if (bar) scrollSideways(bar);
}

// Unlike scrollIntoView, this does not scroll the page, which shows the step.
function scrollSideways(bar) {
  const box = axes().getBoundingClientRect();
  const { left, right } = one("rect", bar).getBoundingClientRect();
  if (left < box.left || right > box.right) axes().scrollLeft += (left + right - box.left - box.right) / 2;
}

// A bar may hold several steps; its `data-first` is the id of the first.
export function barOf(stepId) {
  const exact = all(`.step-bar[data-first="${stepId}"]`, timeline).at(-1);
  return exact ?? bars().filter((bar) => Number(bar.dataset.first) <= stepId).at(-1);
}

// The Tab key stops only once in the timeline; the arrow keys move from bar to bar.
export function updateTabStop() {
  const stop = one(".step-bar[aria-current]", timeline) ?? bars().at(-1);
  bars().forEach((bar) => bar.setAttribute("tabindex", bar === stop ? "0" : "-1"));
}

// While nothing has the focus, an arrow key leads to where the Tab key would.
function firstPlace(key) {
  const isArrow = key === "ArrowRight" || key === "ArrowLeft";
  if (isArrow && document.activeElement === document.body) return bars().findIndex((bar) => bar.tabIndex === 0);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const list = bars();
  const current = list.indexOf(document.activeElement);
  const places = { ArrowRight: current + 1, ArrowLeft: current - 1, Home: 0, End: list.length - 1 };
  const next = current < 0 ? firstPlace(event.key) : places[event.key];
  if (!list[next]) return;
  event.preventDefault();
  one('.step-bar[tabindex="0"]', timeline)?.setAttribute("tabindex", "-1");
  list[next].setAttribute("tabindex", "0");
  list[next].focus();
  list[next].scrollIntoView({ block: "nearest", inline: "nearest" });
});

// If the timeline is wider than the screen, scroll to the current step or the last failure.
export function scrollToBar() {
  const box = axes();
  if (!box) return;
  const list = bars();
  const bar = list.find((bar) => bar.ariaCurrent) ?? list.findLast((bar) => bar.matches(".failed")) ?? list.at(-1);
  if (bar) scrollSideways(bar);
}

function markOverflow() {
  const box = axes();
  if (!box) return;
  const hidden = box.scrollWidth - box.clientWidth - box.scrollLeft;
  box.classList.toggle("goes-on", hidden > 4);
}

markOverflow();
timeline.addEventListener("scroll", markOverflow, { capture: true, passive: true });
addEventListener("resize", markOverflow);
// A live update may remove the class.
new MutationObserver(markOverflow).observe(timeline, { subtree: true, childList: true, attributeFilter: ["class"] });
