// Each section of the account page: its socket, its notices, and the end of the session.
"use strict";

// What the scripts of a section share: `account.socket`, `account.say(text)`, and
// `account.onDevices(listener)`, which calls the listener with each list of devices.
const account = (() => {
  const find = (id) => document.getElementById(id);
  const listeners = [];
  let why = "Your session has ended.";
  let known = null; // names of the devices in the last list, by id

  const say = (text) => {
    find("notice").textContent = text;
    find("notice").hidden = !text;
  };
  const show = (state, text) => {
    if (!find("state")) return; // only a section that changes by itself tells its state
    find("state").dataset.state = state;
    find("state-text").textContent = text;
  };

  const name = ({ browser, system, actor }) => {
    if (actor) return `Administrator ${actor}`;
    return [browser || "Unknown browser", system].filter(Boolean).join(" on ");
  };

  // -- the list of devices --

  const rows = () =>
    [...document.querySelectorAll("#devices > li")].map((row) => [
      row.dataset.id,
      row.querySelector("[data-name]").textContent,
    ]);

  const hear = (devices) => {
    const names = new Map(devices.map((device) => [device.id, name(device)]));
    known ??= find("devices") && new Map(rows());
    if (known) {
      // a session that got a new id is the same device
      const came = [...names].filter(([id]) => !known.has(id)).map(([, words]) => words);
      const went = [...known].filter(([id, words]) => !names.has(id) && !came.includes(words));
      if (went.length) say(went.map(([, words]) => `${words} is signed out.`).join(" "));
    }
    known = names;
    for (const listener of listeners) listener(devices);
  };

  // -- the end of the session --

  const gone = () => {
    if (page.leaving) return;
    page.leaving = true;
    shared.socket?.disconnect();
    find("account").remove();
    for (const element of document.querySelectorAll(".bar nav > *")) element.remove();
    find("gone").hidden = false;
    find("gone-why").textContent = why;
    find("gone").focus();
  };

  // who signs out of a device leaves nothing on its screen
  document.addEventListener("session:ended", (event) => {
    if (event.detail.reason !== "logout") return;
    event.preventDefault();
    gone();
  });
  document.addEventListener("session:declined", gone);

  // -- the socket --

  const connect = () => {
    let renewed = false; // whether the session got a new id, perhaps of another user
    const socket = window.io("/account", { path: `${page.base}/socket.io/` });
    shared.socket = socket;
    socket.on("connect", () => {
      // session.js asks who has signed in
      if (renewed && !session.active && !page.leaving) location.reload();
      else show("on", "Live: changes show at once");
    });
    socket.on("sessions", hear);
    socket.on("signed in", (device) => {
      const where = device.address ? ` (${device.address})` : "";
      const advice = "If that was not you, sign it out under Devices and change your password.";
      say(`${name(device)}${where} has signed in. ${advice}`);
    });
    socket.on("session ended", ({ reason }) => {
      renewed = reason === "regenerated";
      why = sessionEnded(reason, true) ?? why;
      if (!renewed && !session.active) gone();
    });
    socket.on("disconnect", () => {
      if (!page.leaving) show("wait", "Disconnected, connecting again…");
    });
    socket.on("connect_error", (error) => {
      if (page.leaving) return;
      if (socket.active) show("wait", "The server does not answer, trying again…");
      else if (error.message !== "unauthorized") {
        show("bad", `Not live: the server refused the socket (${error.message}).`);
      } else if (session.active) show("wait", "Signed out");
      else gone();
    });
    session.watch(socket);
  };

  const shared = { socket: null, say, name, onDevices: (listener) => listeners.push(listener) };

  show("wait", "Connecting…");
  // when the client and the scripts of the section have run
  document.addEventListener("DOMContentLoaded", () => {
    if (window.io) connect();
    else show("bad", "Not live: the Socket.IO client could not be loaded. Reload to see changes.");
  });
  return shared;
})();
