// The counter page: a form of the page and an event of the socket add one to the same number.
"use strict";

(() => {
  const NOTICE = "latchkey notice"; // key of the notice to show after a reload
  const RELOADED = "latchkey reloaded"; // key of the reason and the time of the last reload
  const MIN_RELOAD_INTERVAL = 5000; // ms between two reloads for the same reason
  const ACK_TIMEOUT = 5000; // ms
  const SCRIPT_TIMEOUT = 5000; // ms after which the page says that it loads the Socket.IO client
  const HANDSHAKE_TIMEOUT = 3000; // ms that a click waits for the first handshake

  const find = (id) => document.getElementById(id);
  const count = find("count");
  const button = find("socket-button");
  const script = find("client");
  const shownUser = find("counter").dataset.user ?? null;
  let socket = null;
  let ended = "Your session has ended."; // why

  // Browsers that block third-party cookies deny storage to a page in a frame of another site.
  const openStorage = () => {
    try {
      return window.sessionStorage;
    } catch {
      return null;
    }
  };
  const storage = openStorage();

  const say = (text, again = false) => {
    find("notice-text").textContent = text;
    find("sign-in-again").hidden = !again;
    find("notice").hidden = !text;
  };
  const show = (state, text) => {
    find("state").dataset.state = state;
    find("state-text").textContent = text;
    button.disabled = state !== "on";
  };
  const showCount = (answer) => {
    if (typeof answer === "number") count.textContent = String(answer);
  };
  const ask = (event) => socket.timeout(ACK_TIMEOUT).emitWithAck(event);

  // Reload a page that shows an older session or user than the server, but not in a loop.
  const reload = (reason) => {
    if (page.leaving) return;
    const [lastReason, last] = JSON.parse(storage?.getItem(RELOADED) ?? "[null, 0]");
    if (!storage || (reason === lastReason && Date.now() - last < MIN_RELOAD_INTERVAL)) {
      say("This page shows an older session. Please reload it.");
      return;
    }
    storage.setItem(RELOADED, JSON.stringify([reason, Date.now()]));
    page.leaving = true;
    location.reload();
  };

  // nothing is typed here: the page follows a sign-out or another user's sign-in in another tab
  document.addEventListener("session:ended", (event) => {
    const { reason, other } = event.detail;
    if (!other && reason !== "logout") return;
    event.preventDefault();
    if (other) reload(`user ${other}`);
    else say(ended, true);
  });
  document.addEventListener("session:declined", () => say(ended, true));

  // -- the form, sent without loading the page again --

  let settle; // called when the first handshake is over
  const settled = new Promise((resolve) => {
    settle = resolve;
  });

  const addFromPage = async () => {
    // the first handshake sets the cookie; a request at the same time would create another session
    await Promise.race([settled, new Promise((resolve) => setTimeout(resolve, HANDSHAKE_TIMEOUT))]);
    const headers = { Accept: "application/json, text/plain" };
    const answer = await session.fetch(`${page.base}/incr`, { method: "POST", headers });
    if (answer.status === 401) return reload("401");
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const stored = Number(await answer.text());
    if (!socket?.connected) return showCount(stored);
    // asked by the socket, so that an older broadcast cannot arrive after this count
    const now = await ask("count");
    showCount(now);
    // a lower count means that the socket belongs to another session
    if (now < stored) reload("session");
  };

  find("page-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      say("");
      await addFromPage();
    } catch (error) {
      say(`The page could not add one (${error.message}); try again in a moment.`);
    }
  });

  // -- the socket --

  const connected = async () => {
    settle();
    const showTransport = () => show("on", `Connected by ${socket.io.engine.transport.name}`);
    socket.io.engine.once("upgrade", showTransport);
    showTransport();
    try {
      const user = (await ask("whoami")) ?? null;
      if (user !== shownUser && (user === null || typeof user === "string")) {
        // after a sign-in in place the socket comes back as the user
        const waits = user === null && session.active;
        return (waits && (await session.check({ quiet: true }))) || reload(`user ${user}`);
      }
      storage?.removeItem(NOTICE);
      showCount(await ask("count"));
    } catch {
      // the connection closed; the next one asks again
    }
  };

  const connect = () => {
    let away = false; // whether the server said not to reconnect
    socket = window.io({ path: `${page.base}/socket.io/` });
    socket.on("connect", connected);
    socket.on("current count", showCount);
    socket.on("session ended", ({ reason, reconnect }) => {
      away = !reconnect;
      const why = sessionEnded(reason, shownUser !== null);
      if (page.leaving || !why) return;
      ended = why;
      if (!session.active) say(why, shownUser !== null);
      if (reconnect) storage?.setItem(NOTICE, JSON.stringify([why, shownUser !== null]));
    });
    socket.on("disconnect", () => {
      if (away) show("bad", "Disconnected. Reload this page to begin a new session.");
      else show("wait", "Disconnected, connecting again…");
    });
    socket.on("connect_error", (error) => {
      settle();
      if (socket.active) show("wait", "The server does not answer, trying again…");
      else show("bad", `The server refused the socket (${error.message}).`);
    });
    session.watch(socket);
    button.addEventListener("click", async () => {
      try {
        const answer = await ask("incr");
        if (typeof answer !== "number") throw new Error(answer?.error ?? "an unknown answer");
        showCount(answer);
        say("");
      } catch (error) {
        say(`The socket could not add one (${error.message}); try again in a moment.`);
      }
    });
  };

  const explainMissing = () => {
    settle();
    show("bad", "No socket: the Socket.IO client could not be loaded.");
    say(
      script.integrity
        ? `The page works without it. Your browser cannot reach ${new URL(script.src).host}. ` +
            "The operator of this site can build Latchkey again, which puts the file on this server."
        : "The page works without it. static/vendor/socket.io.min.js is missing or broken. " +
            "The operator of this site can build Latchkey again.",
    );
  };

  show("wait", "Connecting…");
  say(...JSON.parse(storage?.getItem(NOTICE) ?? '[""]'));
  storage?.removeItem(NOTICE);
  if (window.io) {
    connect();
  } else {
    const slow = setTimeout(() => show("wait", "Loading the Socket.IO client…"), SCRIPT_TIMEOUT);
    script.addEventListener("load", () => {
      clearTimeout(slow);
      if (window.io) connect();
      else explainMissing();
    });
    script.addEventListener("error", () => {
      clearTimeout(slow);
      explainMissing();
    });
  }
})();
