// The entries of a thread page (messages, steps or turns) and the cursor on one of them.

import { all, one, opensElsewhere } from "./dom.js";
import { markCurrentBar } from "./timeline.js";

export const state = () => one("#thread-state").dataset;
export const entries = () => all("#entries > .message");
export const byHash = (hash) => document.getElementById(hash.slice(1));
export const entryOf = (target) => target?.closest("#entries > .message");
const current = () => one("#entries > .message.here");

export function currentStep() {
  return Number(current()?.id.match(/^step-(\d+)$/)?.[1] ?? 0);
}

// Moves to an entry, or to a call in it, or to the result that is shown with that call.
export function goTo(target, scroll = true) {
  const entry = entryOf(target);
  all(".here").forEach((old) => old.classList.remove("here"));
  entry.classList.add("here");
  entry.tabIndex = -1;
  entry.focus({ preventScroll: true });
  if (scroll) (target.closest(".call") ?? entry).scrollIntoView({ block: "start" });
  markCurrentBar(currentStep());
}

export function move(by) {
  const list = entries();
  const index = list.indexOf(current());
  const inView = list.findIndex((entry) => entry.getBoundingClientRect().bottom > 80);
  const next = index < 0 ? Math.max(inView, 0) : index + by;
  if (list[next]) goTo(list[next]);
}

function goToStep(id) {
  const entry = document.getElementById(`step-${id}`);
  if (!entry) return false;
  goTo(entry);
  history.replaceState(null, "", `${state().url}&step=${id}#step-${id}`);
  return true;
}

export function goToNextFailure() {
  const ids = state().failures.split(",").filter(Boolean).map(Number);
  if (!ids.length) return;
  const next = ids.find((id) => id > currentStep()) ?? ids[0];
  if (!goToStep(next)) location.assign(state().stepUrl + next);
}

// Follow a link to a message or a step on this page without loading another page.
addEventListener("click", (event) => {
  if (opensElsewhere(event)) return;
  const toStep = event.target.closest?.("a[data-step]");
  if (toStep && goToStep(toStep.dataset.step)) event.preventDefault();
  const toMessage = event.target.closest?.("#entries :is(.speaker a, .quiet a, .result)[href*='#message-']");
  const message = toMessage && byHash(toMessage.hash);
  if (!message) return;
  event.preventDefault();
  goTo(message);
  history.replaceState(null, "", toMessage.href);
});

addEventListener("hashchange", () => {
  const target = byHash(location.hash);
  if (entryOf(target)) goTo(target, false);
});
