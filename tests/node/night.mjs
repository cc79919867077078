// Clients of the official socket.io-client that work through a night, for tests/reliability/night.
//
//   node night.mjs URL FIRST COUNT PAUSE PROCESS...
//
// Users register at the addresses of the processes, as if each came from an address of its own,
// since registrations of one address are limited. All else goes to URL.
//
// stdin:  one JSON command per line: {"id", "do"}
// stdout: one JSON line per answer, {"id", "answer"} or {"id", "error"}
//
// Each client is a signed-in user with a cookie jar of its own. It raises its counter by events and
// by pages, reads pages, and notes what was acknowledged.
import { createInterface } from "node:readline";
import { NodeWebSocket, Socket as Engine } from "engine.io-client";
import { Manager } from "socket.io-client";
import { Jar } from "./jar.mjs";

const [url, first, count, pause] = [process.argv[2], ...process.argv.slice(3, 6).map(Number)];
const processes = process.argv.slice(6);
const TRANSPORTS = [["polling", "websocket"], ["websocket"], ["polling"]];
const PASSWORD = "a long night in the stacks";
const ANSWER_TIMEOUT = 30_000; // of an ack
const PAGE_TIMEOUT = 90_000; // more than the proxy's own

// The official client has a jar for each connection; a browser has one for all, pages included.
Object.defineProperty(Engine.prototype, "_cookieJar", { get() { return this.opts.jar; }, set() {} });
const createSocket = NodeWebSocket.prototype.createSocket;
NodeWebSocket.prototype.createSocket = function (...args) {
  const socket = createSocket.apply(this, args);
  socket.on("upgrade", (response) => this.opts.jar.parseCookies(response.headers["set-cookie"]));
  return socket;
};

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// What happened since the last check, of all clients of this process.
let tally;
function clear() {
  tally = { pages: 0, events: 0, failed: {}, reconnects: 0, longest: 0 };
}
clear();

function failed(what) {
  tally.failed[what] = (tally.failed[what] || 0) + 1;
}

class Client {
  jar = new Jar();
  acked = 0; // the highest count that a page or an ack has told
  unanswered = 0; // increments that may have been stored or not
  waitsSince = 0; // when it first tried what has failed since
  ended = []; // reasons of ends of its session that the server has told

  constructor(number) {
    this.number = number;
    this.name = `night${number}`;
    this.transports = TRANSPORTS[number % TRANSPORTS.length];
  }

  async begin() {
    const body = { username: this.name, password: PASSWORD };
    const [status, text] = await this.fetch("POST", "/register", body, {
      "x-forwarded-for": `10.0.${this.number >> 8}.${this.number & 255}`,
      "x-forwarded-proto": "https",
    }, processes[this.number % processes.length]);
    if (status !== 204) throw new Error(`${this.name} was not registered: ${status} ${text}`);
    this.connect();
    await this.connected();
  }

  connect() {
    const manager = new Manager(url, {
      transports: this.transports,
      withCredentials: true,
      reconnectionDelayMax: 2000,
      jar: this.jar,
    });
    this.socket = manager.socket("/");
    manager.on("reconnect", () => { tally.reconnects += 1; });
    this.socket.on("session ended", (end) => this.ended.push(end.reason));
    this.socket.on("connect_error", () => {
      // the namespace has refused it, as it does while the store is away
      if (!this.socket.active) setTimeout(() => this.socket.connect(), 1000);
    });
    this.socket.on("disconnect", (reason) => {
      // the server has disconnected it: the client does not come back by itself
      if (reason === "io server disconnect") this.socket.connect();
    });
  }

  async connected() {
    while (!this.socket.connected) await sleep(50);
  }

  async fetch(method, path, body, more = {}, base = url) {
    const headers = { cookie: this.jar.header(), ...more };
    if (body) headers["content-type"] = "application/json";
    const response = await fetch(base + path, {
      method, headers, body: body && JSON.stringify(body), redirect: "manual",
      signal: AbortSignal.timeout(PAGE_TIMEOUT),
    });
    this.jar.parseCookies(response.headers.getSetCookie());
    return [response.status, await response.text()];
  }

  async work() {
    while (working) {
      await Promise.race([sleep(pause * 2000 * Math.random()), ended]);
      if (!working) break;
      const begun = Date.now();
      const chance = Math.random();
      const done = await (chance < 0.5 ? this.event() : this.page(chance < 0.8 ? "POST" : "GET"));
      if (done) {
        tally.longest = Math.max(tally.longest, Date.now() - (this.waitsSince || begun));
        this.waitsSince = 0;
      } else {
        this.waitsSince ||= begun;
        await sleep(500);
      }
    }
  }

  async event() {
    while (!this.socket.connected) {
      if (!working) return true;
      await sleep(50);
    }
    this.unanswered += 1;
    try {
      return this.answered(await this.socket.timeout(ANSWER_TIMEOUT).emitWithAck("incr"), "events");
    } catch {
      failed("event without ack");
      return false;
    }
  }

  async page(method) {
    if (method === "POST") this.unanswered += 1;
    try {
      const [status, text] = await this.fetch(method, method === "POST" ? "/incr" : "/");
      if (status !== 200) failed(`${method} ${status}`);
      else if (method === "POST") return this.answered(Number(text), "pages");
      else tally.pages += 1;
      return status === 200;
    } catch (error) {
      failed(`${method} ${error.cause?.code || error.name}`);
      return false;
    }
  }

  answered(value, kind) {
    if (typeof value !== "number") {
      failed("event refused");
      return false;
    }
    this.acked = Math.max(this.acked, value);
    this.unanswered -= 1;
    tally[kind] += 1;
    return true;
  }

  // What is wrong with this client, while it does not work.
  async check() {
    const wrong = { lost: [], extra: [], signedOut: [] };
    const [status, text] = await this.patiently(() => this.fetch("GET", "/session"));
    const user = status === 200 ? JSON.parse(text).user : null;
    await this.connected();
    const [who, stored] = await this.patiently(async () => {
      const socket = this.socket.timeout(5000);
      return [200, [await socket.emitWithAck("whoami"), await socket.emitWithAck("count")]];
    }).then(([, answers]) => answers);
    if (user !== this.name || who !== this.name || this.ended.length) {
      wrong.signedOut.push(`${this.name}: page ${user}, socket ${who}, ends ${this.ended}`);
    }
    if (stored < this.acked) wrong.lost.push(`${this.name}: acknowledged ${this.acked}, stored ${stored}`);
    if (stored > this.acked + this.unanswered) {
      wrong.extra.push(`${this.name}: acknowledged ${this.acked}, stored ${stored}`);
    }
    this.acked = stored;
    this.waitsSince = 0;
    this.ended = [];
    return wrong;
  }

  // Ask until the server does not say that it is to be asked again.
  async patiently(ask) {
    for (let tries = 0; ; tries += 1) {
      try {
        const answer = await ask();
        if (answer[0] < 500) return answer;
        if (tries > 60) throw new Error(`${this.name} was answered ${answer}`);
      } catch (error) {
        if (tries > 60) throw error;
      }
      await sleep(500);
      await this.connected();
    }
  }
}

const clients = Array.from({ length: count }, (_, index) => new Client(first + index));
let working = false;
let works = [];
let end; // ends the pauses of all clients
let ended;

const commands = {
  async begin() {
    for (const client of clients) await client.begin();
  },
  async work() {
    clear();
    working = true;
    ended = new Promise((resolve) => { end = resolve; });
    works = clients.map((client) => client.work());
  },
  // counts since `work`
  async tally() {
    return tally;
  },
  // ends the work, and checks each client
  async check() {
    working = false;
    end();
    await Promise.all(works);
    const found = await Promise.all(clients.map((client) => client.check()));
    const all = (kind) => found.flatMap((wrong) => wrong[kind]);
    return { ...tally, lost: all("lost"), extra: all("extra"), signedOut: all("signedOut") };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: name } = JSON.parse(line);
  commands[name]().then(
    (answer) => console.log(JSON.stringify({ id, answer: answer ?? null })),
    (error) => console.log(JSON.stringify({ id, error: String(error.stack || error) })),
  );
}
process.exit(0);
