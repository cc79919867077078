// The dialog of session.js. Its words are in the template session_dialog.html and here.
"use strict";

const sessionDialog = (() => {
  const TITLES = {
    "sign-in": ["Sign in again", ""],
    reauthenticate: ["Is it you?", "Enter your password again to go on."],
    offline: ["The site does not answer", "Nothing was sent. What you typed is still here."],
  };
  const BUTTONS = { "sign-in": "Sign in", reauthenticate: "Continue", offline: "Try again" };

  const dialog = document.getElementById("session-dialog")?.content.querySelector("dialog");
  const find = (id) => dialog.querySelector(`#session-${id}`);
  const form = dialog?.querySelector("form");
  let asks = null; // what the open dialog asks for, as `open` was given it
  let step = ""; // which fields it shows

  const complain = (text) => {
    find("wrong").textContent = text;
    find("wrong").hidden = !text;
  };

  // Show the fields of a step: "password", "code", or "" for none.
  const show = (name) => {
    step = name;
    for (const fields of form.querySelectorAll("[data-for]")) {
      fields.hidden = !fields.dataset.for.split(" ").includes(name);
      for (const input of fields.querySelectorAll("input")) {
        input.required = !fields.hidden && input.type !== "checkbox";
      }
    }
    find("code").value = "";
    find(name || "submit").focus();
  };

  const submit = async () => {
    const trust = find("trust").checked ? "yes" : "";
    const fields = { step, password: find("password").value, code: find("code").value, trust };
    const refused = await asks.send(fields);
    if (!refused || !asks) return;
    if (refused.why) find("why").textContent = refused.why;
    if (refused.step !== step) show(refused.step);
    complain(refused.error ?? "");
    find(step || "submit").focus();
  };

  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    complain("");
    find("submit").disabled = true;
    await submit().catch(() => complain("The site does not answer. Try again in a moment."));
    find("submit").disabled = false;
  });
  const cancel = (event) => {
    event.preventDefault();
    asks?.cancel();
  };
  dialog?.addEventListener("cancel", cancel); // by the key Escape
  if (dialog) {
    find("cancel").addEventListener("click", cancel);
    find("reload").addEventListener("click", () => location.reload());
  }

  return {
    available: Boolean(dialog),

    // Open it, or change what it asks for. `kind` is "sign-in", "reauthenticate" or "offline", `why`
    // a sentence, `name` that of the user, and `other` whether somebody else has signed in. `send`
    // gets {step, password, code, trust}; what it returns is shown: {step, error, why}.
    open(wanted) {
      asks = wanted;
      const [title, why] = TITLES[asks.kind];
      find("title").textContent = title;
      find("why").textContent = asks.why || why;
      find("name").value = asks.name;
      find("submit").textContent = BUTTONS[asks.kind];
      find("elsewhere").hidden = asks.kind !== "sign-in";
      find("trust").closest("label").hidden = asks.kind !== "sign-in";
      find("reload").hidden = !asks.other;
      complain("");
      if (!dialog.open) {
        document.body.append(dialog);
        dialog.showModal();
      }
      show(asks.kind === "offline" ? "" : "password");
    },

    // Close it; the element that had the focus gets it back.
    close() {
      asks = null;
      dialog.close();
      form.reset();
    },
  };
})();
