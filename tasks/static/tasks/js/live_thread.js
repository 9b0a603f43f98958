// Follows a run: polls for new entries, and announces them if the reader is elsewhere on the page.

import { all, one, parsePage } from "./dom.js";
import { currentStep, displayOf, entries, goTo, state } from "./entries.js";
import { POLL_MS } from "./refresh_intervals.js";
import { updateTimes } from "./local_times.js";
import { morph } from "./morph.js";
import { markCurrentBar, updateTabStop } from "./timeline.js";

const bar = one(".live-bar");
const button = one("button", bar);
const lost = one("#lost");
let tag = state().tag;
let timer;

function announce(text, canShow = true, areMany = false) {
  one("p", bar).textContent = text;
  button.textContent = areMany ? "Show them" : "Show it";
  button.hidden = !canShow;
  bar.hidden = !text;
}

const isAtEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 160;
const isReading = () => !isAtEnd() || !getSelection().isCollapsed;
const hasMore = () => Boolean(one("#entries > .later"));

// The query parameter that requests the entries after the last one on this page.
function cursor() {
  const last = entries().at(-1)?.id.match(/^(message|step|turn)-(\d+)$/);
  return last && !hasMore() ? `&${last[1]}=${last[2]}` : "";
}

async function poll() {
  clearTimeout(timer);
  const url = state().live;
  if (!url || document.hidden) return;
  try {
    const response = await fetch(url + cursor(), { headers: { "If-None-Match": tag } });
    if (response.redirected) return announce("You are signed out. Load the page again.", false);
    if (response.status === 404) return announce("This thread has been cleared.", false);
    if (response.status === 200) update(response.headers.get("ETag"), parsePage(await response.text()));
    else if (response.status !== 304) throw new Error(response.statusText);
    lost.hidden = true;
  } catch {
    lost.hidden = false;
  }
  timer = setTimeout(poll, POLL_MS);
}

function update(newTag, page) {
  if (!one("#secrets-shown") !== !one("#secrets-shown", page)) return location.reload();
  const added = all("#entries > .message", page).filter((entry) => !document.getElementById(entry.id));
  for (const id of ["head", "timeline", "side", "tabs", "thread-state"]) {
    morph(one(`#${id}`), document.adoptNode(one(`#${id}`, page)));
  }
  const follow = !isReading() && !hasMore();
  if (follow) merge(page);
  else if (added.length) announce(`${added.length} new below`, true, added.length > 1);
  tag = newTag;
  updateTimes();
  updateTabStop();
  markCurrentBar(currentStep());
  if (follow && added.length) scrollTo({ top: document.documentElement.scrollHeight });
}

function merge(page) {
  const list = one("#entries");
  if (!list) return;
  all(":scope > p.pages", list).forEach((empty) => empty.remove());
  for (const entry of all("#entries > *", page)) {
    if (entry.matches(".earlier") || replace(entry)) continue;
    list.append(document.adoptNode(entry));
    updateCall(entry);
  }
  htmx.process(list);
  updateTimes();
}

// An entry may change after it is shown, for example when a call gets its result.
function replace(entry) {
  const old = entry.id && document.getElementById(entry.id);
  if (!old) return false;
  if (old.matches(".here")) {
    entry.classList.add("here");
    entry.tabIndex = -1;
  }
  morph(old, document.adoptNode(entry));
  return true;
}

// The call of a new result may be in the previous piece, which the poll did not request.
async function updateCall(result) {
  const call = displayOf(result);
  if (call === result) return;
  const url = new URL(one(".said a[href*='#message-']", result).href);
  url.searchParams.set("piece", "later");
  const response = await fetch(url);
  if (!response.ok || response.redirected) return;
  const entry = parsePage(await response.text()).getElementById(call.id);
  if (entry) replace(entry);
}

button.addEventListener("click", async () => {
  if (hasMore()) return location.assign(state().latest);
  announce("");
  const response = await fetch(state().live + cursor());
  merge(parsePage(await response.text()));
  const last = entries().at(-1);
  if (last) goTo(last);
});

addEventListener("visibilitychange", () => document.hidden || poll());
addEventListener("scroll", () => {
  if (isAtEnd() && !bar.hidden && !hasMore() && !button.hidden) button.click();
}, { passive: true });

// Reload if secrets were shown or hidden in another window, so that no page shows only some.
addEventListener("htmx:beforeSwap", (event) => {
  if (!event.detail.xhr.getResponseHeader("Refresh") === !one("#secrets-shown")) return;
  event.detail.shouldSwap = false;
  location.reload();
});

timer = setTimeout(poll, POLL_MS);
