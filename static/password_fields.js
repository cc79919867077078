// A button beside each password field that shows what was typed.
"use strict";

(() => {
  const hide = [];

  for (const field of document.querySelectorAll(".password > input")) {
    const button = document.createElement("button");
    const word = document.createElement("span");
    const what = document.createElement("span");
    button.type = "button";
    button.className = "quiet";
    what.className = "unseen";
    what.textContent = ` ${document.querySelector(`label[for="${field.id}"]`).textContent}`;
    button.append(word, what);
    const show = (shown) => {
      field.type = shown ? "text" : "password";
      word.textContent = shown ? "Hide" : "Show";
    };
    button.addEventListener("click", () => show(field.type === "password"));
    hide.push(() => show(false));
    show(false);
    field.spellcheck = false;
    field.autocapitalize = "none";
    field.after(button);
  }

  // a browser may keep what a field of text held, and show it to the next user
  const hideAll = () => hide.forEach((each) => each());
  document.addEventListener("submit", hideAll);
  addEventListener("pagehide", hideAll);
})();
