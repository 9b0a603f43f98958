// The script of a thread's page: its shortcuts, and the entry it starts at.

import "./copy_button.js";
import { all, one } from "./dom.js";
import { byHash, displayOf, goTo, goToNextFailure, move } from "./entries.js";
import { hitMessageId, moveHit, showHit } from "./find_in_thread.js";
import { shortcuts } from "./keyboard.js";
import "./live_thread.js";
import { scrollToBar, updateTabStop } from "./timeline.js";

shortcuts.set("j", () => move(1));
shortcuts.set("k", () => move(-1));
shortcuts.set("f", goToNextFailure);
shortcuts.set("n", () => moveHit(1));
shortcuts.set("N", () => moveHit(-1));
shortcuts.set("/", () => one("#find").select());
shortcuts.set("[", () => one("a.previous-thread")?.click());
shortcuts.set("]", () => one("a.next-thread")?.click());

// Where the cards are above the thread instead of beside it, they start closed.
if (matchMedia("(max-width: 900px)").matches) {
  for (const card of all(".side > details")) card.open = false;
}

const target = byHash(location.hash);
const isEntry = target?.matches("#entries > .message");
if (isEntry) goTo(displayOf(target));
// The list's search may lead to a message that holds no hit here.
if (hitMessageId() && (!isEntry || target.id === hitMessageId())) {
  showHit();
  // When all is loaded, the browser scrolls to the address's fragment.
  if (target) addEventListener("load", () => setTimeout(showHit));
}
updateTabStop();
scrollToBar();
