// Keeps the list current: polls while the page is visible, and says when the connection is lost.

import { POLL_MS, SPREAD_MS } from "./refresh_intervals.js";
import { morph } from "./morph.js";

function poll() {
  if (document.hidden) return;
  for (const element of document.querySelectorAll("[data-poll]")) htmx.trigger(element, "poll");
}

// All tabs poll at about the same moments of the clock, so that the server renders once for all.
function schedule() {
  const untilNext = POLL_MS - (Date.now() % POLL_MS);
  setTimeout(() => { schedule(); poll(); }, untilNext + SPREAD_MS * Math.random());
}

schedule();
document.addEventListener("visibilitychange", poll);

const lost = document.getElementById("lost");
const isPoll = (event) => event.detail.elt && "poll" in event.detail.elt.dataset;

for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.body.addEventListener(name, (event) => { if (isPoll(event)) lost.hidden = false; });
}
document.body.addEventListener("htmx:afterRequest", (event) => {
  if (isPoll(event) && event.detail.successful) lost.hidden = true;
});

htmx.defineExtension("morph", {
  isInlineSwap: (style) => style === "morph",
  handleSwap(style, target, fragment) {
    if (style !== "morph") return false;
    const fresh = [...fragment.children].find((child) => child.id === target.id);
    if (!fresh) {
      location.reload(); // the response is another page, such as the sign-in page
      return [];
    }
    const focused = document.activeElement;
    morph(target, fresh);
    if (focused.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
    return [target];
  },
});
