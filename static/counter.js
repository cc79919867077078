// The counter page: one number, raised by a form of the page and by an event of the socket.
"use strict";

(() => {
  const NOTICE = "latchkey notice"; // what to say after a reload, and whether to sign in again
  const RELOADED = "latchkey reloaded"; // why and when this page reloaded itself last
  const LOOP = 5000; // ms between two reloads for one and the same reason that make a loop
  const PATIENCE = 5000; // ms to wait for an ack, or for the Socket.IO client
  const WAIT_FOR_SOCKET = 3000; // ms

  const find = (id) => document.getElementById(id);
  const count = find("count");
  const button = find("socket-button");
  const script = find("client");
  const shownUser = find("counter").dataset.user ?? null;
  let socket = null;

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
  const ask = (event) => socket.timeout(PATIENCE).emitWithAck(event);

  // The server knows better than this page who is here: show the page anew, but never in a loop.
  const reload = (reason) => {
    if (page.leaving) return;
    const [lastReason, last] = JSON.parse(storage?.getItem(RELOADED) ?? "[null, 0]");
    if (!storage || (reason === lastReason && Date.now() - last < LOOP)) {
      say("This page shows an older session; please reload it.");
      return;
    }
    storage.setItem(RELOADED, JSON.stringify([reason, Date.now()]));
    page.leaving = true;
    location.reload();
  };

  // -- the page's half: its form, without loading the page again --

  let settle; // called when the first handshake is over
  const settled = new Promise((resolve) => {
    settle = resolve;
  });

  const addFromPage = async () => {
    // a newcomer's first handshake brings the cookie; a request beside it would get another one
    await Promise.race([settled, new Promise((resolve) => setTimeout(resolve, WAIT_FOR_SOCKET))]);
    const headers = { Accept: "application/json, text/plain" };
    const answer = await fetch("/incr", { method: "POST", headers });
    if (answer.status === 401) return reload("401");
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const stored = Number(await answer.text());
    if (!socket?.connected) return showCount(stored);
    // by the socket, because what comes one way cannot overtake itself
    const now = await ask("count");
    showCount(now);
    // the socket lags behind the page only where it hangs on another session
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

  // -- the socket's half --

  const connected = async () => {
    settle();
    const showTransport = () => show("on", `Connected by ${socket.io.engine.transport.name}`);
    socket.io.engine.once("upgrade", showTransport);
    showTransport();
    try {
      const user = (await ask("whoami")) ?? null;
      if (user !== shownUser && (user === null || typeof user === "string")) {
        return reload(`user ${user}`);
      }
      storage?.removeItem(NOTICE);
      showCount(await ask("count"));
    } catch {
      // the connection went meanwhile; the next one asks again
    }
  };

  const connect = () => {
    let away = false; // whether the server asked us to stay away
    socket = window.io();
    socket.on("connect", connected);
    socket.on("current count", showCount);
    socket.on("session ended", ({ reason, reconnect }) => {
      away = !reconnect;
      const why = sessionEnded(reason, shownUser !== null);
      if (page.leaving || !why) return;
      say(why, shownUser !== null);
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
        ? `The page works without it. ${new URL(script.src).host} cannot be reached from here; ` +
            "whoever runs this site can build Latchkey again with npm installed, which puts the " +
            "file beside this page."
        : "The page works without it. static/vendor/socket.io.min.js is missing or broken; " +
            "whoever runs this site can build Latchkey again with npm installed.",
    );
  };

  show("wait", "Connecting…");
  say(...JSON.parse(storage?.getItem(NOTICE) ?? '[""]'));
  storage?.removeItem(NOTICE);
  if (window.io) {
    connect();
  } else {
    const slow = setTimeout(() => show("wait", "Loading the Socket.IO client…"), PATIENCE);
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
