// What the scripts of a page share: its base path, and whether the browser leaves it.
"use strict";

const page = {
  base: document.documentElement.dataset.basePath ?? "", // such as "/app"; "" at the root
  leaving: false, // whether the page ignores the end of its socket
};

document.addEventListener("submit", (event) => {
  if (!event.defaultPrevented) page.leaving = true;
});
addEventListener("pagehide", () => {
  page.leaving = true;
});
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
