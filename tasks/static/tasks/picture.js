// The picture on a narrow screen: it begins at the last failure, and says where it goes on.

(() => {
  "use strict";

  const picture = document.getElementById("picture");
  const axes = () => picture?.querySelector(".axes");

  function markEdges() {
    const box = axes();
    if (!box) return;
    const left = box.scrollWidth - box.clientWidth - box.scrollLeft;
    box.classList.toggle("goes-on", left > 4);
  }

  function begin() {
    const box = axes();
    const bars = [...picture.querySelectorAll(".step-bar")];
    const shown = bars.find((bar) => bar.ariaCurrent) ?? bars.findLast((bar) => bar.matches(".failed"));
    const bar = (shown ?? bars.at(-1))?.querySelector("rect").getBoundingClientRect();
    const { left, width } = box.getBoundingClientRect();
    if (bar) box.scrollLeft += bar.left + bar.width / 2 - left - width / 2;
  }

  if (axes()) begin();
  markEdges();
  picture?.addEventListener("scroll", markEdges, { capture: true, passive: true });
  addEventListener("resize", markEdges);
  // what comes of a running task is put in place, and takes the mark away
  const changes = { subtree: true, childList: true, attributeFilter: ["class"] };
  if (picture) new MutationObserver(markEdges).observe(picture, changes);

  // the cards beside a thread are folded where they would be above it
  if (matchMedia("(max-width: 900px)").matches) {
    for (const card of document.querySelectorAll(".side > details")) card.open = false;
  }
})();
