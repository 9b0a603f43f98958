// The theme switch in the menu. theme.js applies the stored choice on the next page.

import { load, save } from "./storage.js";

for (const radio of document.querySelectorAll("input[name=theme]")) {
  radio.checked = radio.value === (load("theme") || "auto");
  radio.addEventListener("change", () => {
    save("theme", radio.value);
    if (radio.value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = radio.value;
  });
}
