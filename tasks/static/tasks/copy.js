// The buttons that copy a text: also where the browser has no clipboard, as over plain HTTP.

(() => {
  "use strict";

  const SHOWN_FOR = 1600; // milliseconds

  async function written(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return selectedAndCopied(text);
    }
  }

  function selectedAndCopied(text) {
    const focused = document.activeElement;
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "visually-hidden";
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    focused?.focus({ preventScroll: true });
    return isCopied;
  }

  addEventListener("click", async (event) => {
    const button = event.target.closest?.("button.copy");
    if (!button) return;
    const text = button.dataset.text ?? document.querySelector(button.dataset.copy).innerText;
    const isCopied = await written(text);
    const told = "part" in button.dataset ? "Copied the part that is shown" : "Copied";
    button.dataset.told = isCopied ? told : "This browser does not let it be copied";
    clearTimeout(button.fading);
    button.fading = setTimeout(() => delete button.dataset.told, SHOWN_FOR);
  });
})();
