// Intervals in milliseconds. A test may set its own on the window before the page's scripts run.

export const { POLL_MS = 2000, CLOCK_MS = 5000, COPIED_MS = 1600 } = window.gloamyIntervals ?? {};
