// Shows times in the reader's time zone and keeps elapsed times current. The server renders UTC.

import { CLOCK_MS } from "./refresh_intervals.js";

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

function elapsed(moment) {
  const seconds = Math.floor((Date.now() - moment) / 1000);
  const unit = UNITS.find(([, size]) => seconds >= size);
  return unit ? `${Math.floor(seconds / unit[1])} ${unit[0]}` : "now";
}

export function updateTimes() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const moment = Date.parse(time.getAttribute("datetime"));
    if (Number.isNaN(moment)) continue;
    time.title = full.format(moment);
    const text = "elapsed" in time.dataset ? elapsed(moment) : "clock" in time.dataset ? clock.format(moment) : "";
    if (text && time.textContent !== text) time.textContent = text;
  }
}

updateTimes();
setInterval(updateTimes, CLOCK_MS);
document.body.addEventListener("htmx:afterSwap", updateTimes);
