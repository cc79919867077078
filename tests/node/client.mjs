// Drives the official socket.io-client for tests/support/node_client.py.
//
//     node client.mjs SOCKET
//
// It listens on this Unix socket until its standard input ends. Each of its clients is a browser
// with connections and cookies of its own:
//
// in:  one JSON command per line: {"id", "do", ...}
// out: one JSON line per answer, {"id", "answer"} or {"id", "error"}, and per thing that
//      happened, {"name", "namespace", "what", "args"}
//
// With `jar: true` a connection and `fetch` share one cookie jar, as pages and sockets of a
// browser do. On Node the official client has a jar per connection, which a reconnect loses,
// and it does not read the cookies of a 101; both are made good here and nothing else is.
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { NodeWebSocket, Socket as Engine } from "engine.io-client";
import { Manager } from "socket.io-client";
import { Jar } from "./jar.mjs";

Object.defineProperty(Engine.prototype, "_cookieJar", {
  get() { return this.opts.jar || this._ownJar; },
  set(jar) { this._ownJar = jar; },
});
const createSocket = NodeWebSocket.prototype.createSocket;
NodeWebSocket.prototype.createSocket = function (...args) {
  const socket = createSocket.apply(this, args);
  const jar = this.opts.jar;
  if (jar) socket.on("upgrade", (response) => jar.parseCookies(response.headers["set-cookie"]));
  return socket;
};

function close(manager) {
  manager.reconnection(false);
  manager._close();
}

async function browse(stream) {
  stream.on("error", () => stream.destroy()); // a client that has crashed
  const managers = new Map();
  const shared = new Jar();

  function tell(message) {
    if (stream.writable) stream.write(JSON.stringify(message) + "\n");
  }

  function happened(name, namespace, what, ...args) {
    tell({ name, namespace, what, args });
  }

  function watch(name, namespace, socket) {
    socket.on("connect", () => happened(name, namespace, "connect", socket.id));
    socket.on("disconnect", (reason) => happened(name, namespace, "disconnect", reason));
    socket.on("connect_error", (error) =>
      happened(name, namespace, "connect_error", error.message, error.data ?? null));
    socket.onAny((event, ...args) => happened(name, namespace, "event", event, ...args));
  }

  const commands = {
    // a connection `name` with `namespaces`; answers once all of them are joined or refused
    async connect({ name, url, namespaces, options }) {
      const manager = new Manager(url, {
        reconnectionDelay: 50,
        reconnectionDelayMax: 200,
        timeout: 5000,
        ...options,
        jar: options.jar && shared,
        withCredentials: Boolean(options.withCredentials || options.jar),
        autoConnect: false,
      });
      managers.set(name, manager);
      manager.on("reconnect_attempt", () => happened(name, "", "reconnect_attempt"));
      manager.on("open", () => {
        happened(name, "", "open", manager.engine.transport.name);
        manager.engine.on("upgrade", (to) => happened(name, "", "upgrade", to.name));
        manager.engine.on("close", (reason) => happened(name, "", "close", reason));
      });
      await Promise.all(namespaces.map((namespace) => {
        const socket = manager.socket(namespace);
        watch(name, namespace, socket);
        const settled = new Promise((resolve) => {
          socket.once("connect", resolve);
          socket.once("connect_error", resolve);
        });
        socket.connect();
        return settled;
      }));
    },
    async emit({ name, namespace, event, args, size }) {
      // a large text is made here, so that it is no part of the command
      const sent = size ? [...args, "x".repeat(size)] : args;
      managers.get(name).socket(namespace).emit(event, ...sent);
    },
    async call({ name, namespace, event, args, seconds }) {
      const socket = managers.get(name).socket(namespace);
      return socket.timeout(seconds * 1000).emitWithAck(event, ...args);
    },
    // sends a packet on the raw transport, past what the client would allow
    async packet({ name, text }) {
      managers.get(name).engine.write(text);
    },
    async join({ name, namespace, auth }) {
      const manager = managers.get(name);
      const isNew = !(namespace in manager.nsps);
      const socket = manager.socket(namespace, auth ? { auth } : undefined);
      if (isNew) watch(name, namespace, socket);
      if (auth) socket.auth = auth;
      const settled = new Promise((resolve) => {
        socket.once("connect", resolve);
        socket.once("connect_error", resolve);
      });
      socket.connect();
      await settled;
    },
    // the id of the connection, and its transport
    async engine({ name }) {
      const { id, transport } = managers.get(name).engine;
      return [id ?? "", transport?.name ?? ""];
    },
    async close({ name }) {
      close(managers.get(name));
    },
    async fetch({ url, method, headers, body }) {
      const sent = { ...headers };
      if (shared.cookies.size) sent.cookie = shared.header();
      const response = await fetch(url, { method, headers: sent, body, redirect: "manual" });
      shared.parseCookies(response.headers.getSetCookie());
      return [response.status, await response.text()];
    },
    // the Cookie header that this jar, or a connection's own jar, would send
    async cookie({ name }) {
      if (!name) return shared.header();
      const own = managers.get(name).engine._ownJar;
      return [...own.cookies].map(([key, cookie]) => `${key}=${cookie.value}`).join("; ");
    },
  };

  for await (const line of createInterface({ input: stream })) {
    const command = JSON.parse(line);
    commands[command.do](command).then(
      (answer) => tell({ id: command.id, answer: answer ?? null }),
      (error) => tell({ id: command.id, error: String(error.message || error) }),
    );
  }
  managers.forEach(close);
  stream.end();
}

// the end of a stream is that of its lines, after which there may still be answers to write
const server = createServer({ allowHalfOpen: true }, browse);
server.listen(process.argv[2], () => process.stdout.write("ready\n"));
process.stdin.on("end", () => process.exit(0)).resume();
