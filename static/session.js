// A page whose session ends lets its user sign in again in place: docs/page-session.md.
"use strict";

window.session = (() => {
  const RETRY_INTERVAL = 5000; // ms between two questions to a server that does not answer
  const RENEWAL_TIME = 1000; // ms until the cookie of a new session id has come
  const MAX_TIMER = 86_400_000; // ms
  const ACK_TIMEOUT = 5000; // ms
  const LEAVE_TIME = 5000; // ms after which a page that was to be left has stayed
  const NOT_GUARDED = ["/login", "/login/code", "/logout", "/register"];

  const root = document.documentElement.dataset;
  const base = root.basePath ?? "";
  // whose page this is; id "": a visitor's, undefined: not known yet
  const owner = { id: sessionDialog.available ? root.userId : "", name: root.user ?? "" };
  const channel = openChannel(`latchkey session ${base}`);
  const sockets = new Set();
  const checked = new WeakSet(); // forms that wait for the server's word on the session
  let passing = null; // the form that the browser may send now
  let asked = null; // what the open dialog asks for: {kind, promise, resolve}
  let declined = false; // whether the user has closed the dialog: it opens when it is needed
  let endedBy = ""; // the reason that a socket was told
  let leaving = false; // whether the browser is about to leave the page
  let timer; // of the next look

  // To other tabs; a browser may deny it to a page in a frame of another site.
  function openChannel(name) {
    try { return new BroadcastChannel(name); } catch { return new EventTarget(); }
  }

  // Tell the page; return whether it lets the script do the rest.
  const tell = (name, detail = {}) =>
    document.dispatchEvent(new CustomEvent(`session:${name}`, { cancelable: true, detail }));

  // -- the server --

  const post = (path, fields) => {
    const headers = { Accept: "application/json", "Content-Type": "application/json" };
    return window.fetch(base + path, { method: "POST", headers, body: JSON.stringify(fields) });
  };

  const lookIn = (milliseconds) => {
    clearTimeout(timer);
    timer = setTimeout(look, milliseconds);
  };

  // Return what the server says of the session; rejects if it does not answer.
  const ask = async () => {
    const answer = await window.fetch(`${base}/session`, { cache: "no-store" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const found = await answer.json();
    owner.id ??= found.actor ? "" : (found.user_id ?? "");
    owner.name ||= found.user ?? "";
    const left = found.expires ? 1000 * (found.expires - found.now + 1) : MAX_TIMER;
    lookIn(Math.min(Math.max(left, RETRY_INTERVAL), MAX_TIMER));
    return found;
  };

  // -- is the session alive? --

  // Return whether the session is that of the page's user, if need be after a sign-in in place.
  // A `quiet` check opens no dialog that the user has closed.
  const check = async ({ quiet = false } = {}) => {
    if (owner.id === "") return true;
    const found = await ask();
    if (owner.id === "" || found.user_id === owner.id) {
      if (declined || asked?.kind === "sign-in") restored();
      return true;
    }
    return quiet && declined ? false : open("sign-in", found.user);
  };

  const look = () => {
    if (!leaving) check({ quiet: true }).catch(() => lookIn(RETRY_INTERVAL));
  };

  const isRecent = async (minutes) => {
    const { authenticated, now } = await ask();
    return authenticated > now - 60 * minutes || open("reauthenticate");
  };

  // -- the dialog --

  const whyEnded = (other) => {
    if (other) return `This browser is signed in as ${other} now, but this page is ${owner.name}’s.`;
    const known = typeof sessionEnded === "function" ? sessionEnded(endedBy, true) : null;
    return `${known ?? "Your session has ended."} What you typed is still here.`;
  };

  // Open the dialog, or change what it asks for; return a promise of whether it succeeded.
  const open = (kind, other = null) => {
    if (asked && kind !== "sign-in") return asked.promise;
    if (asked?.kind === kind && asked.other === other) return asked.promise;
    if (kind === "sign-in" && !asked && !tell("ended", { reason: endedBy, other })) return false;
    if (!asked) {
      asked = {};
      asked.promise = new Promise((resolve) => { asked.resolve = resolve; });
    }
    Object.assign(asked, { kind, other });
    const why = kind === "sign-in" ? whyEnded(other) : "";
    sessionDialog.open({ kind, why, name: owner.name, other, send, cancel: () => finish(false) });
    return asked.promise;
  };

  const finish = (succeeded) => {
    const { kind, resolve } = asked;
    asked = null;
    sessionDialog.close();
    if (!succeeded && kind === "sign-in") {
      declined = true;
      tell("declined");
    }
    resolve(succeeded);
  };

  const restored = () => {
    declined = false;
    endedBy = "";
    if (asked) finish(true);
    for (const socket of sockets) if (!socket.active) socket.connect();
    tell("restored");
  };

  // Send what was typed into the dialog; return what to show if it is refused.
  const send = async ({ step, password, code, trust }) => {
    const { kind } = asked;
    if (kind === "offline") return finish(true);
    const proof = { username: owner.name, password, ...(step === "code" && { code }) };
    const answer = await (kind === "reauthenticate" ? post("/reauthenticate", proof)
      : step === "code" ? post("/login/code", { code, trust }) : post("/login", proof));
    if (answer.ok) {
      channel.postMessage?.("signed in");
      if (asked) await (kind === "sign-in" ? restored() : finish(true));
      return null;
    }
    const { error, code_required: needsCode } = await answer.json().catch(() => ({}));
    if (kind === "reauthenticate" && answer.status === 401) {
      // the session has ended, or another tab has given it a new id just now
      const found = await ask();
      if (found.user_id === owner.id) return finish(true);
      open("sign-in", found.user);
    }
    if (needsCode && step !== "code") return { step: "code", why: error };
    return { step: needsCode ? "code" : "password", error: error ?? `Status ${answer.status}.` };
  };

  // -- forms --

  // Whether what was typed into this form would be lost if the session has ended.
  const isGuarded = (form, submitter) => {
    const read = (name) => submitter?.getAttribute(`form${name}`) ?? form.getAttribute(name) ?? "";
    const action = new URL(read("action"), location.href);
    if (read("method").toLowerCase() !== "post" || form.dataset.session === "off") return false;
    if (action.origin !== location.origin || read("target") === "_blank") return false;
    return !NOT_GUARDED.some((path) => action.pathname === base + path);
  };

  // Return whether the browser may send this form: the server answers, and knows the user.
  const mayBeSent = async (form) => {
    const minutes = Number(form.dataset.recentSignIn ?? 0);
    for (;;) {
      try {
        return (await check()) && (!minutes || (await isRecent(minutes)));
      } catch {
        if (!(await open("offline"))) return false;
      }
    }
  };

  document.addEventListener("submit", async (event) => {
    const { target: form, submitter } = event;
    if (event.defaultPrevented || owner.id === "" || passing === form) return;
    if (!isGuarded(form, submitter)) return leave();
    event.preventDefault();
    if (checked.has(form)) return; // pressed twice
    checked.add(form);
    if (await mayBeSent(form)) {
      leave();
      passing = form;
      form.requestSubmit(submitter); // which sends the event `submit` again
      passing = null;
    }
    checked.delete(form);
  });

  const leave = () => {
    leaving = true;
    setTimeout(() => { leaving = false; }, LEAVE_TIME);
  };

  // -- when to look --

  channel.addEventListener("message", look);
  document.addEventListener("visibilitychange", () => document.hidden || look());
  addEventListener("online", look);
  addEventListener("pagehide", () => { leaving = true; });
  addEventListener("pageshow", () => { leaving = false; });
  look();

  // -- for the scripts of a page --

  const connected = (socket) => socket.connected || new Promise((go) => socket.once("connect", go));

  return {
    check,
    reauthenticate: () => open("reauthenticate"),
    // Whether this page is that of a user, who is asked to sign in again in place.
    get active() { return Boolean(owner.id); },

    // Do what window.fetch does; if the user has to sign in, or to prove it once more, wait for
    // that, and send the request once more.
    async fetch(address, options = {}) {
      const headers = new Headers(options.headers);
      if (!headers.has("Accept")) headers.set("Accept", "application/json, */*");
      const request = () => window.fetch(address, { ...options, headers });
      const answer = await request();
      if (answer.status === 401) return (await check()) ? request() : answer;
      if (answer.status !== 403) return answer;
      const { error } = await answer.clone().json().catch(() => ({}));
      return error === "reauthenticate" && (await open(error)) ? request() : answer;
    },

    // Emit an event and return its ack; if need be, as `fetch`, once more.
    async emit(socket, event, ...values) {
      const request = () => socket.timeout(ACK_TIMEOUT).emitWithAck(event, ...values);
      const ack = await request();
      if (ack?.error === "reauthenticate") return (await open(ack.error)) ? request() : ack;
      if (ack?.error !== "unauthorized" || !(await check())) return ack;
      await connected(socket);
      return request();
    },

    // Follow a socket of this page; it connects again after a sign-in in place.
    watch(socket) {
      sockets.add(socket);
      socket.on("session ended", ({ reason }) => {
        if (reason !== "regenerated") endedBy = reason;
        lookIn(reason === "regenerated" ? RENEWAL_TIME : 0);
      });
      socket.on("connect_error", ({ message }) => {
        if (message !== "unauthorized") return;
        look(); // and if the session is alive, the socket may come back
        setTimeout(() => asked || declined || socket.active || socket.connect(), RETRY_INTERVAL);
      });
    },
  };
})();
