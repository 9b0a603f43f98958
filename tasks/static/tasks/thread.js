// What a thread's page can do beyond its links: keys, hits in place, copying, and following a run.

(() => {
  "use strict";

  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const state = () => one("#thread-state");
  if (!state()) return;

  // Entries: messages, steps or turns

  const entries = () => all("#entries > .message");
  const here = () => one("#entries > .message.here");

  function go(entry, scroll = true) {
    all(".here").forEach((old) => old.classList.remove("here"));
    entry.classList.add("here");
    entry.tabIndex = -1;
    entry.focus({ preventScroll: true });
    if (scroll) entry.scrollIntoView({ block: "start" });
    markBar();
  }

  function markBar() {
    const id = here()?.id.match(/^step-(\d+)$/)?.[1];
    all(".step-bar[aria-current]").forEach((bar) => bar.removeAttribute("aria-current"));
    if (!id) return;
    const bar = barOf(Number(id));
    bar?.setAttribute("aria-current", "true");
    bar?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  // a bar may stand for several steps; it knows the first
  function barOf(id) {
    const exact = all(`.step-bar[data-first="${id}"]`).at(-1);
    return exact ?? all(".step-bar").filter((bar) => Number(bar.dataset.first) <= id).at(-1);
  }

  // results are shown with their call, in the message before
  function shownAt(entry) {
    const link = entry.matches(".moved") && one(".said a[href*='#message-']", entry);
    return (link && document.getElementById(link.hash.slice(1))) || entry;
  }

  function walk(by) {
    const list = entries();
    const now = list.indexOf(here());
    const seen = list.findIndex((entry) => entry.getBoundingClientRect().bottom > 80);
    const next = now < 0 ? Math.max(seen, 0) : now + by;
    if (list[next]) go(list[next]);
  }

  function showStep(id) {
    const entry = document.getElementById(`step-${id}`);
    if (!entry) return false;
    go(entry);
    history.replaceState(null, "", `${state().dataset.address}&step=${id}#step-${id}`);
    return true;
  }

  function nextFailure() {
    const ids = state().dataset.failures.split(",").filter(Boolean).map(Number);
    if (!ids.length) return;
    const now = Number(here()?.id.match(/^step-(\d+)$/)?.[1] ?? 0);
    const next = ids.find((id) => id > now) ?? ids[0];
    if (!showStep(next)) location.assign(state().dataset.stepAddress + next);
  }

  // a permanent link leads to where the message is, if it is in the page
  addEventListener("click", (event) => {
    const link = event.target.closest?.("#entries :is(.speaker, .moved) a[href*='#message-']");
    const entry = link && document.getElementById(link.hash.slice(1));
    if (!entry || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(entry);
    history.replaceState(null, "", link.href);
  });

  addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-step]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (showStep(link.dataset.step)) event.preventDefault();
  });

  // The picture is one stop for the Tab key; the arrow keys go from bar to bar

  function rove() {
    const bars = all(".step-bar");
    const stop = one(".step-bar[aria-current]") ?? bars.at(-1);
    bars.forEach((bar) => bar.setAttribute("tabindex", bar === stop ? "0" : "-1"));
  }

  function moveInPicture(event) {
    const bars = all(".step-bar");
    const now = bars.indexOf(document.activeElement);
    const to = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: bars.length - 1 }[event.key];
    if (now < 0 || to === undefined || !bars[to]) return false;
    bars[now].setAttribute("tabindex", "-1");
    bars[to].setAttribute("tabindex", "0");
    bars[to].focus();
    bars[to].scrollIntoView({ block: "nearest", inline: "nearest" });
    return true;
  }

  // Hits

  const hits = one("#hits");
  const numbers = hits?.dataset.hits.split(",").filter(Boolean).map(Number) ?? [];
  let hit = Number(hits?.dataset.hit ?? 1) - 1;

  function textOf(entry) {
    const walker = document.createTreeWalker(entry, NodeFilter.SHOW_TEXT);
    const nodes = [];
    let text = "";
    while (walker.nextNode()) {
      if (!walker.currentNode.parentElement.checkVisibility()) continue;
      nodes.push([text.length, walker.currentNode]);
      text += walker.currentNode.data;
    }
    return { nodes, text };
  }

  function rangesIn(entry, query) {
    const { nodes, text } = textOf(entry);
    const lower = text.toLowerCase();
    const [hay, needle] =
      lower.length === text.length ? [lower, query.toLowerCase()] : [text, query];
    const place = (position) => {
      const [start, node] = nodes.findLast(([from]) => from <= position);
      return [node, position - start];
    };
    const ranges = [];
    for (let at = hay.indexOf(needle); at >= 0; at = hay.indexOf(needle, at + needle.length)) {
      const range = new Range();
      range.setStart(...place(at));
      const [node, offset] = place(at + needle.length - 1);
      range.setEnd(node, offset + 1);
      ranges.push(range);
    }
    return ranges;
  }

  function highlight(name, ranges) {
    if (!globalThis.CSS?.highlights) return;
    const made = new Highlight(...ranges);
    made.priority = name === "found-here" ? 1 : 0;
    CSS.highlights.set(name, made);
  }

  function markHits() {
    if (!hits) return;
    highlight("found", entries().flatMap((entry) => rangesIn(entry, hits.dataset.query)));
  }

  function showHit() {
    const holder = document.getElementById(`message-${numbers[hit]}`);
    if (!holder) return false;
    const entry = shownAt(holder);
    const places = entry === holder ? [entry] : all(".output", entry);
    all("details", entry).forEach((fold) => {
      if (textContains(fold, hits.dataset.query)) fold.open = true;
    });
    go(entry);
    markHits();
    const ranges = places.flatMap((place) => rangesIn(place, hits.dataset.query));
    const within = hit - numbers.indexOf(numbers[hit]);
    const range = ranges[Math.min(within, ranges.length - 1)];
    highlight("found-here", range ? [range] : []);
    const box = range?.getBoundingClientRect();
    if (box) scrollBy({ top: box.top - innerHeight / 3 });
    one(".where-in-hits", hits).textContent = one(".where-in-hits", hits).textContent.replace(/^\d+/, hit + 1);
    return true;
  }

  const textContains = (element, query) =>
    element.textContent.toLowerCase().includes(query.toLowerCase());

  function stepHit(by) {
    if (!numbers.length) return;
    hit = (hit + by + numbers.length) % numbers.length;
    const query = encodeURIComponent(hits.dataset.query);
    const address = `${state().dataset.address}&find=${query}&hit=${hit + 1}#message-${numbers[hit]}`;
    if (showHit()) history.replaceState(null, "", address);
    else location.assign(address);
  }

  hits?.addEventListener("click", (event) => {
    const button = event.target.closest(".step-hit");
    if (!button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    stepHit(button.rel === "prev" ? -1 : 1);
  });

  // Keys

  const { keys, update } = window.gloamy;
  keys.set("j", () => walk(1));
  keys.set("k", () => walk(-1));
  keys.set("f", nextFailure);
  keys.set("n", () => stepHit(1));
  keys.set("N", () => stepHit(-1));
  keys.set("/", () => one("#find").select());
  keys.set("[", () => one("a.previous-thread")?.click());
  keys.set("]", () => one("a.next-thread")?.click());

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (moveInPicture(event)) event.preventDefault();
    const field = one("#find");
    if (event.key !== "Enter" || event.target !== field || field.value !== hits?.dataset.query) return;
    event.preventDefault();
    stepHit(event.shiftKey ? -1 : 1);
  });

  // Following a run

  const EVERY = 2000;
  const bar = one(".live-bar");
  const lost = one("#lost");
  let tag = state().dataset.tag;
  let timer;

  function say(text, canShow = true, areMany = false) {
    one("p", bar).textContent = text;
    one("button", bar).textContent = areMany ? "Show them" : "Show it";
    one("button", bar).hidden = !canShow;
    bar.hidden = !text;
  }

  const isAtEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 160;
  const isReading = () => !isAtEnd() || !getSelection().isCollapsed;
  const hasMore = () => Boolean(one("#entries > .later"));

  function cursor() {
    const last = entries().at(-1)?.id.match(/^(message|step|turn)-(\d+)$/);
    return last && !hasMore() ? `&${last[1]}=${last[2]}` : "";
  }

  async function poll() {
    clearTimeout(timer);
    const address = state().dataset.live;
    if (!address || document.hidden) return;
    try {
      const response = await fetch(address + cursor(), { headers: { "If-None-Match": tag } });
      if (response.redirected) return say("You are signed out. Load the page again.", false);
      if (response.status === 404) return say("This thread has been cleared.", false);
      if (response.status === 200) take(response.headers.get("ETag"), await response.text());
      else if (response.status !== 304) throw new Error(response.statusText);
      lost.hidden = true;
    } catch {
      lost.hidden = false;
    }
    timer = setTimeout(poll, EVERY);
  }

  function take(newTag, text) {
    const page = new DOMParser().parseFromString(text, "text/html");
    if (!one("#secrets-shown") !== !one("#secrets-shown", page)) return location.reload();
    const fresh = all("#entries > .message", page).filter((e) => !document.getElementById(e.id));
    for (const id of ["head", "picture", "side", "tabs", "thread-state"]) {
      update(one(`#${id}`), document.adoptNode(one(`#${id}`, page)));
    }
    const follow = !isReading() && !hasMore();
    if (follow) merge(page);
    else if (fresh.length) say(`${fresh.length} new below`, true, fresh.length > 1);
    // what is only announced is asked for again when it shall be shown
    tag = newTag;
    window.gloamy.showTimes();
    rove();
    markBar();
    if (follow && fresh.length) scrollTo({ top: document.documentElement.scrollHeight });
  }

  function merge(page) {
    const list = one("#entries");
    if (!list) return;
    all(":scope > p.pages", list).forEach((empty) => empty.remove());
    for (const fresh of all("#entries > *", page)) {
      if (fresh.matches(".earlier")) continue;
      if (renew(fresh)) continue;
      list.append(document.adoptNode(fresh));
      updateCall(fresh);
    }
    globalThis.htmx?.process(list);
    window.gloamy.showTimes();
  }

  // an entry that is there may have more to tell: a call has its result by now
  function renew(fresh) {
    const old = fresh.id && document.getElementById(fresh.id);
    if (!old) return false;
    if (old.matches(".here")) {
      fresh.classList.add("here");
      fresh.tabIndex = -1;
    }
    update(old, document.adoptNode(fresh));
    return true;
  }

  // the call of a result that came may stand in the piece before, which was not asked for
  async function updateCall(result) {
    const call = shownAt(result);
    if (call === result) return;
    const address = new URL(one(".said a[href*='#message-']", result).href);
    address.searchParams.set("piece", "later");
    const response = await fetch(address);
    if (!response.ok || response.redirected) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const fresh = page.getElementById(call.id);
    if (fresh) renew(fresh);
  }

  one("button", bar).addEventListener("click", async () => {
    if (hasMore()) return location.assign(state().dataset.latest);
    say("");
    const response = await fetch(state().dataset.live + cursor());
    merge(new DOMParser().parseFromString(await response.text(), "text/html"));
    const last = entries().at(-1);
    if (last) go(last);
  });

  addEventListener("visibilitychange", () => document.hidden || poll());
  addEventListener("scroll", () => isAtEnd() && !bar.hidden && !hasMore() && catchUp(), { passive: true });

  function catchUp() {
    if (!one("button", bar).hidden) one("button", bar).click();
  }

  // Beginning, and whatever htmx adds later

  addEventListener("htmx:load", markHits);
  // another window has shown the secrets or hidden them: a page is all of one kind
  addEventListener("htmx:beforeSwap", (event) => {
    if (!event.detail.xhr.getResponseHeader("Refresh") === !one("#secrets-shown")) return;
    event.detail.shouldSwap = false;
    location.reload();
  });
  addEventListener("hashchange", () => {
    const entry = document.getElementById(location.hash.slice(1));
    if (entry?.matches("#entries > .message")) go(shownAt(entry), false);
  });

  const target = document.getElementById(location.hash.slice(1));
  const isEntry = target?.matches("#entries > .message");
  if (isEntry) go(shownAt(target));
  // a message may hold what the list searched for in a way that is no hit here
  if (numbers.length && (!isEntry || target.id === `message-${numbers[hit]}`)) {
    showHit();
    // until all is loaded, the browser goes to the address's fragment by itself
    if (target) addEventListener("load", () => setTimeout(showHit));
  }
  rove();
  timer = setTimeout(poll, EVERY);
})();
