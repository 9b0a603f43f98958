// The script of the thread page: its shortcuts, and the entry to show first.

import "./copy_button.js";
import { all, one } from "./dom.js";
import { toggleAll } from "./expand_all.js";
import { byHash, entries, entryOf, goTo, goToNextFailure, move } from "./entries.js";
import { hitMessageId, moveHit, showHit } from "./find_in_thread.js";
import { shortcuts } from "./keyboard.js";
import "./live_thread.js";
import "./scroll_head.js";
import { scrollToBar, updateTabStop } from "./timeline.js";

shortcuts.set("j", () => move(1));
shortcuts.set("k", () => move(-1));
shortcuts.set("f", goToNextFailure);
shortcuts.set("e", toggleAll);
shortcuts.set("G", () => goToEnd("#entries > .later", ".to-end", entries().at(-1)));
shortcuts.set("g", () => isDoublePress() && goToEnd("#entries > .earlier", ".to-beginning", entries()[0]));
shortcuts.set("n", () => moveHit(1));
shortcuts.set("N", () => moveHit(-1));
shortcuts.set("/", () => one("#find").select());
shortcuts.set("[", () => one("a.previous-thread")?.click());
shortcuts.set("]", () => one("a.next-thread")?.click());

let pressed = 0; // when "g" was pressed last

function isDoublePress() {
  const before = pressed;
  pressed = Date.now();
  return pressed - before < 1000;
}

function goToEnd(others, link, entry) {
  if (one(others)) one(link)?.click();
  else if (entry) goTo(entry);
}

// On narrow screens, where the cards are above the thread, they start closed.
if (matchMedia("(max-width: 900px)").matches) {
  for (const card of all(".side > details")) card.open = false;
}

const target = byHash(location.hash);
if (entryOf(target)) goTo(target);
// A link from the list may target a message without a hit here; in that case, stay there.
if (hitMessageId() && (!entryOf(target) || target.id === hitMessageId())) {
  showHit();
  // Show the hit again after the browser has scrolled to the URL's fragment on load.
  if (target) addEventListener("load", () => setTimeout(showHit));
}
updateTabStop();
scrollToBar();
