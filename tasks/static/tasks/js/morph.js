// Turns an element into a fresh version of itself and touches only what differs, so that focus, text
// selection, scroll position and open details survive. Children are matched by id, else by order.
// Only a child out of order is moved: its siblings stay, which scroll anchoring and selections need.

const SET_BY_READER = new Set(["open"]);

// Return the element now in the page: `old`, or `fresh` where `old` cannot become it.
export function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return old;
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.id !== fresh.id) {
    old.replaceWith(fresh);
    return fresh;
  }
  if (old.nodeType === Node.ELEMENT_NODE) {
    morphAttributes(old, fresh);
    morphChildren(old, fresh);
  } else old.nodeValue = fresh.nodeValue;
  return old;
}

function morphAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !SET_BY_READER.has(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !SET_BY_READER.has(name)) old.setAttribute(name, value);
  }
}

function morphChildren(old, fresh) {
  const oldById = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  const freshIds = new Set([...fresh.children].map((child) => child.id).filter(Boolean));
  let next = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    // remove what has gone; what has no id cannot match a child that has one
    while (next && !freshIds.has(next.id) && (next.id || child.id)) next = remove(next);
    const sameId = child.id ? oldById.get(child.id) : undefined;
    if (sameId && sameId !== next) move(sameId, old, next);
    const match = sameId || (next && !next.id && !child.id ? next : null);
    if (!match) {
      old.insertBefore(child, next);
      continue;
    }
    if (match === next) next = next.nextSibling;
    morph(match, child);
  }
  while (next) next = remove(next);
}

function move(node, parent, before) {
  if (parent.moveBefore) parent.moveBefore(node, before); // keeps the focus
  else parent.insertBefore(node, before);
}

// Remove a node and return the one after it.
function remove(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}
