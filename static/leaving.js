// Whether the browser leaves this page; the page then ignores the end of its socket.
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
