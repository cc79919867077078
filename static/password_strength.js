// The meter below the field of a new password: the server judges, and stores nothing.
"use strict";

(() => {
  const PAUSE = 400; // ms without a key before the server is asked
  const base = document.documentElement.dataset.basePath ?? "";

  const watch = (meter) => {
    const field = document.getElementById(meter.dataset.strengthOf);
    const username = field.form.elements.namedItem("username");
    const bars = meter.querySelector(".bars");
    const words = meter.querySelector("[data-words]");
    let timer = 0;
    let asked = new AbortController();

    const show = (strength) => {
      bars.hidden = !strength;
      meter.dataset.score = strength?.score ?? "";
      words.textContent = strength?.sentence ?? "";
    };

    const ask = async () => {
      asked = new AbortController();
      const answer = await fetch(`${base}/password-strength`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ password: field.value, username: username?.value ?? "" }),
        signal: asked.signal,
      });
      // after too many, the form's own answer explains
      show(answer.ok ? await answer.json() : null);
    };

    const changed = () => {
      clearTimeout(timer);
      asked.abort();
      if (!field.value) show(null);
      else timer = setTimeout(() => ask().catch(() => show(null)), PAUSE);
    };
    field.addEventListener("input", changed);
    username?.addEventListener("input", changed);
  };

  document.querySelectorAll("[data-strength-of]").forEach(watch);
})();
