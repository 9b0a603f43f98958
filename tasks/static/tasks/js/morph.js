// Updates an element to a fresh version, touching only the differences, so that focus, text
// selection, scroll position and open details survive. Children are matched by id, or else by order.
// Only children out of order are moved, as scroll anchoring and selections need the others in place.

const SET_BY_READER = new Set(["open"]);

// Returns the node now in the page: `old`, or `fresh` if `old` could not be updated to match it.
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
    // remove nodes that are gone; a node without an id cannot match a child that has one
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
  if (parent.moveBefore) parent.moveBefore(node, before); // preserves the focus
  else parent.insertBefore(node, before);
}

// Removes a node and returns the one after it.
function remove(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}
