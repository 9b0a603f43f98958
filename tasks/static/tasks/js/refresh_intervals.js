// Intervals in milliseconds. Tests may set their own on `window` before the page's scripts run.

export const { POLL_MS = 2000, SPREAD_MS = 100, CLOCK_MS = 5000, COPIED_MS = 1600 } = window.gloamyIntervals ?? {};
