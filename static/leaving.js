// Whether this page is about to go: what its socket loses then is no news to anybody.
"use strict";

const page = { leaving: false };

document.addEventListener("submit", (event) => {
  if (!event.defaultPrevented) page.leaving = true;
});
addEventListener("pagehide", () => {
  page.leaving = true;
});
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
