// The account page: the socket keeps its list of devices up to date.
"use strict";

(() => {
  const ACK_TIMEOUT = 5000; // ms
  const TIMES_INTERVAL = 10_000; // ms between two updates of “5 minutes ago”
  const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]]; // seconds

  const find = (id) => document.getElementById(id);
  const list = find("devices");
  const most = list.children.length; // number of rows, if there are more devices than rows
  const others = find("others").querySelector("button");
  const script = find("client");
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  // ms by which this device's clock is ahead of the server's
  const ahead = Date.now() - 1000 * Number(find("account").dataset.now);
  let socket = null;

  const say = (text) => {
    find("notice").textContent = text;
    find("notice").hidden = !text;
  };
  const show = (state, text) => {
    find("state").dataset.state = state;
    find("state-text").textContent = text;
  };

  // -- a row --

  const name = ({ browser, system }) =>
    [browser || "Unknown browser", system].filter(Boolean).join(" on ");

  const link = ({ connections }) => {
    if (!connections.length) return "Not connected";
    const words = [...new Set(connections)].map((transport) => {
      const count = connections.filter((other) => other === transport).length;
      return count > 1 ? `${transport} (${count})` : transport;
    });
    return `Connected by ${words.join(" and ")}`;
  };

  const ago = (milliseconds) => {
    const seconds = Math.max(0, Math.round((Date.now() - ahead - milliseconds) / 1000));
    const found = UNITS.find(([, length]) => seconds >= length);
    return found ? relative.format(-Math.floor(seconds / found[1]), found[0]) : "just now";
  };

  const write = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };

  const writeTimes = (row) => {
    for (const time of row.querySelectorAll("time")) {
      write(time, ago(Date.parse(time.dateTime)));
      time.title = absolute.format(new Date(time.dateTime));
    }
  };

  const setTime = (time, seconds) => {
    time.dateTime = new Date(seconds * 1000).toISOString();
  };

  const fill = (row, device) => {
    row.dataset.id = device.id;
    for (const element of row.querySelectorAll("[data-name]")) write(element, name(device));
    write(row.querySelector("[data-connections]"), link(device));
    row.querySelector("[data-on]").dataset.on = device.connections.length ? "yes" : "no";
    row.querySelector("[data-current]").hidden = !device.current;
    write(row.querySelector("[data-address]"), device.address);
    setTime(row.querySelector("[data-signed-in]"), device.signed_in);
    setTime(row.querySelector("[data-seen]"), device.seen);
    const path = `/account/sessions/${encodeURIComponent(device.id)}/revoke`;
    row.querySelector("form").action = page.base + path;
    writeTimes(row);
  };

  // -- the list --

  const nameOf = (row) => row.querySelector("[data-name]").textContent;

  const remove = (row) => {
    const focused = row.contains(document.activeElement);
    row.remove();
    // keep the place of a user who works by keyboard
    if (focused) find("devices-title").focus();
  };

  const showDevices = (devices) => {
    const rows = new Map([...list.children].map((row) => [row.dataset.id, row]));
    const changes = [];
    for (const [index, device] of devices.entries()) {
      let row = rows.get(device.id);
      rows.delete(device.id);
      if (!row) {
        row = find("device").content.firstElementChild.cloneNode(true);
        changes.push(`${name(device)} has signed in.`);
      }
      fill(row, device);
      // a row that moves loses its focus
      if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
    }
    for (const row of rows.values()) {
      changes.push(`${nameOf(row)} is signed out.`);
      remove(row);
    }
    others.hidden = devices.length < 2;
    if (find("more")) find("more").hidden = devices.length < most;
    if (changes.length) say(changes.join(" "));
  };

  list.addEventListener("submit", async (event) => {
    const row = event.target.closest("li");
    const current = !row.querySelector("[data-current]").hidden;
    // without a socket, or for this device itself, the browser submits the form
    if (current || !socket?.connected) return;
    event.preventDefault();
    try {
      const answer = await socket.timeout(ACK_TIMEOUT).emitWithAck("revoke", row.dataset.id);
      if (answer !== true) throw new Error(answer?.error ?? "an unknown answer");
      if (row.isConnected) {
        say(`${nameOf(row)} is signed out.`);
        remove(row);
      }
    } catch (error) {
      say(`The device could not be signed out (${error.message}); reload this page and try again.`);
    }
  });

  // -- the end of the session --

  const gone = (why) => {
    if (page.leaving) return;
    page.leaving = true;
    socket?.disconnect();
    find("account").remove();
    for (const element of document.querySelectorAll(".bar nav > *")) element.remove();
    find("gone").hidden = false;
    find("gone-why").textContent = why;
    find("gone").focus();
  };

  // -- the socket --

  const connect = () => {
    let renewed = false; // whether the session got a new id, perhaps of another user
    socket = window.io("/account", { path: `${page.base}/socket.io/` });
    socket.on("connect", () => {
      if (renewed && !page.leaving) location.reload();
      else show("on", "Live: changes show at once");
    });
    socket.on("sessions", showDevices);
    socket.on("session ended", ({ reason }) => {
      renewed = reason === "regenerated";
      if (!renewed) gone(sessionEnded(reason, true) ?? "Your session has ended.");
    });
    socket.on("disconnect", () => {
      if (!page.leaving) show("wait", "Disconnected, connecting again…");
    });
    socket.on("connect_error", (error) => {
      if (page.leaving) return;
      if (socket.active) show("wait", "The server does not answer, trying again…");
      else if (error.message === "unauthorized") gone("Your session has ended.");
      else show("bad", `Not live: the server refused the socket (${error.message}).`);
    });
  };

  const explainMissing = () => {
    show("bad", "Not live: the Socket.IO client could not be loaded. Reload to see changes.");
  };

  for (const row of list.children) writeTimes(row);
  setInterval(() => {
    for (const row of list.children) writeTimes(row);
  }, TIMES_INTERVAL);
  show("wait", "Connecting…");
  if (window.io) {
    connect();
  } else {
    script.addEventListener("load", () => (window.io ? connect() : explainMissing()));
    script.addEventListener("error", explainMissing);
  }
})();
