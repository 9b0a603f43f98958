// Follows a run: polls for new entries, and announces them if the reader is elsewhere on the page.

import { all, one, parsePage } from "./dom.js";
import { currentStep, entries, goTo, state } from "./entries.js";
import { POLL_MS } from "./refresh_intervals.js";
import { updateTimes } from "./times.js";
import { morph } from "./morph.js";
import { markCurrentBar, updateTabStop } from "./timeline.js";

const bar = one(".live-bar");
const button = one("button", bar);
const lost = one("#lost");
let tag = state().tag;
let timer;
let isPaused = false; // whether the reader has switched following off
let isOver = false; // whether there is nothing more to follow
let isOld = false; // whether the entries are those of an earlier run

function announce(text, canShow = true) {
  one("p", bar).textContent = text;
  button.hidden = !canShow;
  bar.hidden = !text;
}

const isAtEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 160;
const isReading = () => isPaused || !isAtEnd() || !getSelection().isCollapsed;
const hasMore = () => Boolean(one("#entries > .later"));

// The switch "Follow" is on at the end of the page, unless the reader has switched it off.
function updateSwitch() {
  const box = one("#follow");
  if (box) box.checked = !isPaused && isAtEnd() && !hasMore();
}

// The query parameter that requests the entries after the last one on this page.
function cursor() {
  const last = entries().at(-1)?.id.match(/^(message|step|turn)-(\d+)$/);
  return last && !hasMore() ? `&${last[1]}=${last[2]}` : "";
}

// Requests the live parts of the page. Returns nothing if they are the same, or cannot be shown.
async function load(headers = {}) {
  const response = await fetch(state().live + cursor(), { headers });
  const problem = response.redirected ? "You are signed out. Reload the page."
    : response.status === 404 ? "This thread has been cleared." : "";
  if (problem) isOver = true;
  if (problem) announce(problem, false);
  else if (response.status !== 304 && !response.ok) throw new Error(response.statusText);
  else if (response.ok) return [response.headers.get("ETag"), parsePage(await response.text())];
}

async function poll() {
  clearTimeout(timer);
  if (isOver || document.hidden) return;
  try {
    const update = await load({ "If-None-Match": tag });
    if (update) show(...update);
    lost.hidden = true;
  } catch {
    lost.hidden = false;
  }
  timer = setTimeout(poll, POLL_MS);
}

// Whether another run or attempt began. Its history is not the one on the page, continued.
const isNewRun = (before, after) =>
  ["ended", "attempt"].some((name) => before[name] && before[name] !== after[name]);

function show(newTag, page) {
  if (!one("#secrets-shown") !== !one("#secrets-shown", page)) return location.reload();
  isOld ||= isNewRun(state(), one("#thread-state", page).dataset);
  const isNews = (entry) => isOld || !document.getElementById(entry.id);
  const added = all("#entries > .message", page).filter(isNews).length;
  for (const id of ["head", "timeline", "side", "tabs", "tools", "thread-state"]) {
    morph(one(`#${id}`), document.adoptNode(one(`#${id}`, page)));
  }
  document.title = page.title;
  one("link[rel=icon]").href = one("link[rel=icon]", page).getAttribute("href");
  if (!isOld) all("#caller > .message", page).forEach(replace);
  const { scrollHeight } = document.documentElement;
  const follow = !isReading() && !hasMore() && one("#entries");
  if (follow) merge(page);
  else if (isOld || !one("#entries")) announce(isOld ? "A new attempt has started" : "The thread has changed");
  else {
    if (getSelection().isCollapsed) all("#entries > .message", page).forEach(replace); // calls get results
    if (added) announce(`${added} new below`);
  }
  tag = newTag;
  updateTimes();
  updateTabStop();
  markCurrentBar(currentStep());
  const hasGrown = document.documentElement.scrollHeight > scrollHeight;
  if (follow && (added || hasGrown)) scrollTo({ top: document.documentElement.scrollHeight });
  updateSwitch();
}

function merge(page) {
  const list = one("#entries");
  if (isOld) list.replaceChildren();
  isOld = false;
  all(":scope > p.pages", list).forEach((empty) => empty.remove());
  for (const entry of all("#entries > *", page)) {
    if ((entry.matches(".earlier") && list.firstElementChild) || replace(entry)) continue;
    list.append(document.adoptNode(entry));
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

button.addEventListener("click", async () => {
  if (hasMore()) return location.assign(state().latest);
  if (!one("#entries")) return location.reload();
  button.disabled = true;
  try {
    const [, page] = await load() ?? [];
    if (!page) return;
    announce("");
    if (!isOld) all("#caller > .message", page).forEach(replace);
    merge(page);
    const last = entries().at(-1);
    if (last) goTo(last);
  } catch {
    lost.hidden = false;
  } finally {
    button.disabled = false;
  }
});

addEventListener("change", (event) => {
  if (event.target.id !== "follow") return;
  isPaused = !event.target.checked;
  if (isPaused) return;
  if (hasMore()) location.assign(state().latest);
  else scrollTo({ top: document.documentElement.scrollHeight });
  if (!bar.hidden && !button.hidden) button.click();
});

addEventListener("visibilitychange", () => document.hidden || poll());
addEventListener("scroll", () => {
  updateSwitch();
  if (!isPaused && isAtEnd() && !bar.hidden && !hasMore() && !button.hidden) button.click();
}, { passive: true });

// Reload if secrets were shown or hidden in another window, so that no page shows only some.
addEventListener("htmx:beforeSwap", (event) => {
  if (!event.detail.xhr.getResponseHeader("Refresh") === !one("#secrets-shown")) return;
  event.detail.shouldSwap = false;
  location.reload();
});

updateSwitch();
timer = setTimeout(poll, POLL_MS);
