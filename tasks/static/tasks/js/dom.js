// Shorthands for browser APIs.

export const one = (selector, within = document) => within.querySelector(selector);
export const all = (selector, within = document) => [...within.querySelectorAll(selector)];

export const parsePage = (text) => new DOMParser().parseFromString(text, "text/html");

// Whether a click opens another tab or window.
export const opensElsewhere = (event) => event.ctrlKey || event.metaKey || event.shiftKey;
