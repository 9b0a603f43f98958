// Tells the server the reader's time zone, in which it displays times, and keeps elapsed times current.

import { CLOCK_MS } from "./refresh_intervals.js";

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
const YEAR = 31536000; // seconds
const cookie = `gloamy_time_zone=${new Intl.DateTimeFormat().resolvedOptions().timeZone}`;

if (!document.cookie.split("; ").includes(cookie)) {
  document.cookie = `${cookie}; path=/; max-age=${YEAR}; SameSite=Lax`;
}

function elapsed(moment) {
  const seconds = Math.floor((Date.now() - moment) / 1000);
  const unit = UNITS.find(([, size]) => seconds >= size);
  return unit ? `${Math.floor(seconds / unit[1])} ${unit[0]}` : "now";
}

export function updateTimes() {
  for (const time of document.querySelectorAll("time[data-elapsed]")) {
    const moment = Date.parse(time.getAttribute("datetime"));
    if (Number.isNaN(moment)) continue;
    const text = elapsed(moment);
    if (time.textContent !== text) time.textContent = text;
  }
}

updateTimes();
setInterval(updateTimes, CLOCK_MS);
document.body.addEventListener("htmx:afterSwap", updateTimes);
