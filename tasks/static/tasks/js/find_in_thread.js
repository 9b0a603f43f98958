// Search within a thread: marks the hits and moves from one to the next.

import { all, one, opensElsewhere } from "./dom.js";
import { entries, entryOf, goTo, state } from "./entries.js";

const bar = one("#hits");
const query = bar?.dataset.query;
const hits = bar?.dataset.hits.split(",").filter(Boolean).map(Number) ?? []; // each hit's message
let index = Number(bar?.dataset.hit ?? 1) - 1;

// The element id of the current hit's message, or undefined if there are no hits.
export const hitMessageId = () => hits.length ? `message-${hits[index]}` : undefined;

function visibleText(entry) {
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

function rangesIn(entry) {
  const { nodes, text } = visibleText(entry);
  const lower = text.toLowerCase();
  // lowercase text of a different length would shift the ranges
  const [haystack, needle] = lower.length === text.length ? [lower, query.toLowerCase()] : [text, query];
  const nodeAt = (position) => {
    const [start, node] = nodes.findLast(([from]) => from <= position);
    return [node, position - start];
  };
  const ranges = [];
  for (let at = haystack.indexOf(needle); at >= 0; at = haystack.indexOf(needle, at + needle.length)) {
    const range = new Range();
    range.setStart(...nodeAt(at));
    const [node, offset] = nodeAt(at + needle.length - 1);
    range.setEnd(node, offset + 1);
    ranges.push(range);
  }
  return ranges;
}

function highlight(name, ranges, priority = 0) {
  if (!globalThis.CSS?.highlights) return;
  const marks = new Highlight(...ranges);
  marks.priority = priority;
  CSS.highlights.set(name, marks);
}

function markHits() {
  if (bar) highlight("hit", entries().flatMap(rangesIn));
}

const holdsQuery = (element) => element.textContent.toLowerCase().includes(query.toLowerCase());

// The outputs that a message holds, if they are shown with their calls, or else the message itself.
function partsOf(message) {
  if (message === entryOf(message)) return [message];
  const calls = all(".call", entryOf(message)).filter((call) => one(".result", call)?.hash === message.hash);
  return calls.flatMap((call) => all(".output", call));
}

// Shows the current hit; returns false if its message is not on this page.
export function showHit() {
  const message = document.getElementById(hitMessageId());
  if (!message) return false;
  all("details", entryOf(message)).filter(holdsQuery).forEach((details) => { details.open = true; });
  goTo(message);
  markHits();
  const ranges = partsOf(message).flatMap(rangesIn);
  const range = ranges[Math.min(index - hits.indexOf(hits[index]), ranges.length - 1)];
  highlight("current-hit", range ? [range] : [], 1);
  const box = range?.getBoundingClientRect();
  if (box) scrollBy({ top: box.top - innerHeight / 3 });
  const position = one(".where-in-hits", bar);
  position.textContent = position.textContent.replace(/^\d+/, index + 1);
  return true;
}

export function moveHit(by) {
  if (!hits.length) return;
  index = (index + by + hits.length) % hits.length;
  const url = `${state().url}&find=${encodeURIComponent(query)}&hit=${index + 1}#${hitMessageId()}`;
  if (showHit()) history.replaceState(null, "", url);
  else location.assign(url);
}

bar?.addEventListener("click", (event) => {
  const link = event.target.closest(".step-hit");
  if (!link || opensElsewhere(event)) return;
  event.preventDefault();
  moveHit(link.rel === "prev" ? -1 : 1);
});

// Enter moves to the next hit as long as the query is unchanged.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const field = one("#find");
  if (event.key !== "Enter" || event.target !== field || field.value !== query) return;
  event.preventDefault();
  moveHit(event.shiftKey ? -1 : 1);
});

addEventListener("htmx:load", markHits);
