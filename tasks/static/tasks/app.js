// What pages do by themselves: theme, times, keys, and new activity as it comes.
"use strict";

const POLL_EVERY = 2000; // milliseconds
const TICK_EVERY = 5000;

const stored = {
  get(key) {
    try { return localStorage.getItem(key); } catch { return null; }
  },
  set(key, value) {
    try { localStorage.setItem(key, value); } catch { /* it holds for this page only */ }
  },
};

/* theme */

for (const choice of document.querySelectorAll("input[name=theme]")) {
  choice.checked = choice.value === (stored.get("theme") || "auto");
  choice.addEventListener("change", () => {
    stored.set("theme", choice.value);
    if (choice.value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice.value;
  });
}

/* times: those of the server are right when it writes them, and in UTC */

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

function elapsed(moment) {
  const seconds = Math.floor((Date.now() - moment) / 1000);
  const unit = UNITS.find(([, size]) => seconds >= size);
  return unit ? `${Math.floor(seconds / unit[1])} ${unit[0]}` : "now";
}

function showTimes(root = document) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = Date.parse(time.getAttribute("datetime"));
    if (Number.isNaN(moment)) continue;
    time.title = local.format(moment);
    const text = "elapsed" in time.dataset ? elapsed(moment) : "clock" in time.dataset ? clock.format(moment) : "";
    if (text && time.textContent !== text) time.textContent = text;
  }
}

showTimes();
setInterval(showTimes, TICK_EVERY);

/* new content: only what differs is touched, so scroll, focus, selection and open parts stay */

function update(old, fresh) {
  if (old.isEqualNode(fresh)) return old;
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.id !== fresh.id) {
    old.replaceWith(fresh);
    return fresh;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.nodeValue = fresh.nodeValue;
    return old;
  }
  updateAttributes(old, fresh);
  updateChildren(old, fresh);
  return old;
}

const KEPT = new Set(["open"]); // what a person has opened

function updateAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !KEPT.has(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !KEPT.has(name)) old.setAttribute(name, value);
  }
}

function updateChildren(old, fresh) {
  const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  const wanted = new Set([...fresh.children].map((child) => child.id).filter(Boolean));
  let next = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    // what is not wanted any more; before one that is known by its id, nothing else stays either
    while (next && !wanted.has(next.id) && (next.id || child.id)) next = removed(next);
    const same = child.id ? known.get(child.id) : undefined;
    if (same && same !== next) move(old, same, next);
    const partner = same || (next && !next.id && !child.id ? next : null);
    if (!partner) {
      old.insertBefore(child, next);
      continue;
    }
    if (partner === next) next = next.nextSibling;
    update(partner, child);
  }
  while (next) next = removed(next);
}

function move(parent, node, next) {
  if (parent.moveBefore) parent.moveBefore(node, next); // keeps what has the focus
  else parent.insertBefore(node, next);
}

function removed(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

htmx.defineExtension("update", {
  isInlineSwap: (style) => style === "update",
  handleSwap(style, target, fragment) {
    if (style !== "update") return false;
    const fresh = [...fragment.children].find((child) => child.id === target.id);
    if (!fresh) {
      location.reload(); // another page came in its place, such as that of signing in
      return [];
    }
    const focused = document.activeElement;
    update(target, fresh);
    if (focused.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
    return [target];
  },
});

/* polling: an element that wants to be asked for anew says so with hx-trigger="poll" */

function poll() {
  if (document.hidden) return;
  for (const element of document.querySelectorAll("[data-poll]")) htmx.trigger(element, "poll");
}

setInterval(poll, POLL_EVERY);
document.addEventListener("visibilitychange", poll);

const lost = document.getElementById("lost");
const isPoll = (event) => event.detail.elt && "poll" in event.detail.elt.dataset;

for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.body.addEventListener(name, (event) => { if (isPoll(event)) lost.hidden = false; });
}
document.body.addEventListener("htmx:afterRequest", (event) => {
  if (isPoll(event) && event.detail.successful) lost.hidden = true;
});

// rows of chips and tabs that scroll on a phone show the one that is chosen
for (const chosen of document.querySelectorAll(".chips [aria-current], .tabs [aria-current]")) {
  const row = chosen.parentElement;
  row.scrollLeft = chosen.offsetLeft - row.offsetLeft - (row.clientWidth - chosen.offsetWidth) / 2;
}

document.body.addEventListener("htmx:afterSwap", () => showTimes());

/* forms that are sent as soon as something is chosen */

for (const form of document.querySelectorAll("form[data-auto]")) {
  form.addEventListener("change", (event) => {
    if (event.target.matches("select, input[type=checkbox]")) form.requestSubmit();
  });
  form.addEventListener("formdata", (event) => {
    for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
  });
}

/* menus close with Escape and with a click elsewhere */

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

for (const button of document.querySelectorAll("[data-open]")) {
  button.addEventListener("click", () => document.getElementById(button.dataset.open).showModal());
}

/* keys of a page: a page's own script adds to them */

const keys = new Map();
const keysOn = document.getElementById("keys-on");
if (keysOn) { // the admin has none
  keysOn.checked = stored.get("keys") !== "off";
  keysOn.addEventListener("change", () => stored.set("keys", keysOn.checked ? "on" : "off"));
}

function isTyping(element) {
  return element.matches("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.key === "Escape") return leave(event);
  if (!keysOn?.checked || isTyping(event.target) || document.querySelector("dialog[open]")) return;
  const act = keys.get(event.key);
  if (act && act() !== false) event.preventDefault();
});

function leave(event) {
  const menu = document.querySelector("details.menu[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  } else if (isTyping(event.target)) event.target.blur();
}

keys.set("?", () => document.getElementById("help").showModal());

/* the list: the cursor is the focus itself, on the link of a row */

const rowLinks = () => [...document.querySelectorAll(".list .title")];

function moveCursor(by) {
  const links = rowLinks();
  if (!links.length) return false;
  const row = document.activeElement.closest(".list tbody tr") || opened();
  const at = row ? links.indexOf(row.querySelector(".title")) : -1;
  const to = at < 0 ? 0 : Math.min(Math.max(at + by, 0), links.length - 1);
  links[to].focus();
  links[to].closest("tr").scrollIntoView({ block: "nearest" });
}

// the thread that was opened last, where one goes on after coming back
const opened = () => history.state && document.getElementById(history.state.opened);

document.addEventListener("click", (event) => {
  const row = event.target.closest("a") && event.target.closest(".list tbody tr");
  if (row) history.replaceState({ ...history.state, opened: row.id }, "");
});

const search = document.getElementById("search");
if (search) keys.set("/", () => { search.focus(); search.select(); });
if (document.querySelector(".list")) {
  keys.set("j", () => moveCursor(1));
  keys.set("k", () => moveCursor(-1));
}

window.gloamy = { keys, update, showTimes };
