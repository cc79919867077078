// The list of devices on the account page: the socket keeps it up to date.
"use strict";

(() => {
  const ACK_TIMEOUT = 5000; // ms
  const TIMES_INTERVAL = 10_000; // ms between two updates of “5 minutes ago”
  const ACTING = "An administrator of this site signed in as you. You may sign them out.";
  const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]]; // seconds

  const find = (id) => document.getElementById(id);
  const list = find("devices");
  const most = list.children.length; // number of rows, if there are more devices than rows
  const others = find("others").querySelector("button");
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  // ms by which this device's clock is ahead of the server's
  const ahead = Date.now() - 1000 * Number(find("account").dataset.now);
  const { name, say } = account;

  // -- a row --

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
    const acting = row.querySelector("[data-actor]");
    acting.hidden = !device.actor;
    write(acting, device.actor ? ACTING : "");
    const address = row.querySelector("[data-address]");
    address.parentElement.hidden = Boolean(device.actor);
    write(address, device.address);
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
    for (const [index, device] of devices.entries()) {
      let row = rows.get(device.id);
      rows.delete(device.id);
      row ??= find("device").content.firstElementChild.cloneNode(true);
      fill(row, device);
      // a row that moves loses its focus
      if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
    }
    for (const row of rows.values()) remove(row);
    others.hidden = devices.length < 2;
    if (find("more")) find("more").hidden = devices.length < most;
  };

  list.addEventListener("submit", async (event) => {
    const row = event.target.closest("li");
    const current = !row.querySelector("[data-current]").hidden;
    // without a socket, or for this device itself, the browser submits the form
    if (current || !account.socket?.connected) return;
    event.preventDefault();
    try {
      const answer = await account.socket.timeout(ACK_TIMEOUT).emitWithAck("revoke", row.dataset.id);
      if (answer !== true) throw new Error(answer?.error ?? "an unknown answer");
      if (row.isConnected) {
        say(`${nameOf(row)} is signed out.`);
        remove(row);
      }
    } catch (error) {
      say(`The device could not be signed out (${error.message}); reload this page and try again.`);
    }
  });

  for (const row of list.children) writeTimes(row);
  setInterval(() => {
    for (const row of list.children) writeTimes(row);
  }, TIMES_INTERVAL);
  account.onDevices(showDevices);
})();
