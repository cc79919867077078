// The hand-wired recipe, for Node and Bun: express-session for the pages, the same middleware under
// Socket.IO's engine, and in every event a reload before the change and a save after it.
"use strict";

const { createServer } = require("node:http");
const { parseArgs } = require("node:util");
const express = require("express");
const session = require("express-session");
const { Server } = require("socket.io");

const { values: options } = parseArgs({
  options: {
    port: { type: "string" },
    redis: { type: "string" }, // a redis:// address; without it sessions stay in memory
    "ping-interval": { type: "string", default: "25" }, // seconds
  },
});

async function makeStore() {
  if (!options.redis) return new session.MemoryStore();
  const { RedisStore } = require("connect-redis");
  const { createClient } = require("redis");
  return new RedisStore({ client: await createClient({ url: options.redis }).connect() });
}

function makeServer(store) {
  const app = express();
  const server = createServer(app);
  const io = new Server(server, {
    serveClient: false,
    pingInterval: Number(options["ping-interval"]) * 1000,
  });
  const sessions = session({
    secret: "only for the bench",
    resave: false,
    saveUninitialized: false,
    store,
  });

  app.use(sessions);
  app.post("/incr", (req, res) => {
    const count = (req.session.count = (req.session.count ?? 0) + 1);
    io.to(req.session.id).emit("current count", count);
    res.type("text/plain").send(String(count));
  });

  io.engine.use(sessions);
  io.engine.use((req, res, next) => {
    // Most recipes forget this: without it a WebSocket's cookie names a session that was never stored.
    if (req._query.sid || req.session.count !== undefined) return next();
    req.session.count = 0;
    req.session.save(next);
  });
  io.on("connection", (socket) => {
    const { request } = socket;
    socket.join(request.session.id);
    socket.on("incr", (ack) => {
      request.session.reload((gone) => {
        if (gone) return socket.disconnect(true);
        const count = (request.session.count += 1);
        request.session.save((failed) => {
          if (failed) return socket.disconnect(true);
          socket.to(request.session.id).emit("current count", count);
          ack(count);
        });
      });
    });
  });
  return server;
}

makeStore().then((store) => makeServer(store).listen(Number(options.port), "127.0.0.1"));
process.on("SIGTERM", () => process.exit(0));
process.on("SIGUSR2", () => global.gc?.()); // so that no garbage is measured as memory
