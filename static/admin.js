// The operator's pages: the socket keeps what they show up to date.
"use strict";

(() => {
  const REFRESH_PAUSE = 200; // ms in which changes wait for each other

  const find = (id) => document.getElementById(id);
  const live = find("live"); // on the page of an account
  const overview = find("overview");

  const show = (state, text) => {
    if (!find("state")) return;
    find("state").dataset.state = state;
    find("state-text").textContent = text;
  };

  const write = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };

  // -- the page of an account --

  let timer = null;

  const refresh = async () => {
    timer = null;
    const answer = await fetch(live.dataset.stateUrl, { headers: { Accept: "text/html" } });
    if (answer.status === 404) {
      live.textContent = "This account is deleted.";
      show("bad", "The account is deleted");
      return;
    }
    if (!answer.ok || answer.redirected) return;
    const focused = live.contains(document.activeElement) ? document.activeElement.id : null;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    localTimes(page);
    const events = page.getElementById("events");
    find("events").replaceChildren(...events.childNodes);
    events.remove();
    live.replaceChildren(...page.body.childNodes);
    // keep the place of a user who works by keyboard
    if (focused !== null) (find(focused) ?? find("sessions-title")).focus();
  };

  const changed = () => {
    timer ??= setTimeout(() => refresh().catch(() => show("wait", "The server does not answer…")), REFRESH_PAUSE);
  };

  // -- the overview --

  const showOverview = ({ now, users, sign_ins, plots }) => {
    for (const [name, value] of Object.entries({ ...now, users, sign_ins })) {
      write(overview.querySelector(`[data-count="${name}"]`), String(value));
    }
    for (const { name, points, maximum, summary } of plots) {
      const plot = document.querySelector(`[data-plot="${name}"]`);
      plot.querySelector("polyline").setAttribute("points", points);
      plot.querySelector("svg").setAttribute("aria-label", summary);
      write(plot.querySelector("[data-maximum]"), maximum);
    }
  };

  // -- the link for a new password --

  const copy = find("copy");
  if (copy) {
    copy.parentElement.hidden = false;
    copy.addEventListener("click", async () => {
      find(copy.dataset.copy).select();
      try {
        await navigator.clipboard.writeText(find(copy.dataset.copy).value);
        find("copied").textContent = "The link is copied.";
      } catch {
        find("copied").textContent = "The browser does not copy; press Ctrl+C or ⌘C.";
      }
    });
  }

  // -- the end --

  const gone = (why) => {
    if (page.leaving) return;
    page.leaving = true;
    socket?.disconnect();
    find("admin").remove();
    find("gone").hidden = false;
    find("gone-why").textContent = why;
    find("gone").focus();
  };

  // -- the socket --

  let socket = null;

  const connect = () => {
    let renewed = false; // whether the session got a new id, perhaps of another user
    socket = window.io("/admin", { path: `${page.base}/socket.io/` });
    socket.on("connect", () => {
      if (renewed && !page.leaving) location.reload();
      if (overview) socket.emit("overview");
      if (live) {
        socket.emit("account", live.dataset.account);
        changed(); // it may have changed since the page was made
      }
      show("on", "Live: changes show at once");
    });
    socket.on("changed", changed);
    socket.on("overview", showOverview);
    socket.on("session ended", ({ reason }) => {
      renewed = reason === "regenerated";
      if (!renewed) gone(sessionEnded(reason, true) ?? "Your session has ended.");
    });
    socket.on("disconnect", (reason) => {
      if (page.leaving || renewed) return;
      if (reason === "io server disconnect") gone("You may not use these pages any more.");
      else show("wait", "Disconnected, connecting again…");
    });
    socket.on("connect_error", (error) => {
      if (page.leaving) return;
      if (socket.active) show("wait", "The server does not answer, trying again…");
      else if (renewed) location.reload();
      else gone(`You may not use these pages any more (${error.message}).`);
    });
  };

  if (!live && !overview) return;
  show("wait", "Connecting…");
  // when the client has run
  document.addEventListener("DOMContentLoaded", () => {
    if (window.io) connect();
    else show("bad", "Not live: the Socket.IO client could not be loaded. Reload to see changes.");
  });
})();
