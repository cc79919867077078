import { io } from "socket.io-client"; const u = process.argv[2];
const [ann, bob] = [1, 2].map(() => io(u + "/bug", { transports: ["websocket"], forceNew: true }));
await Promise.all([ann, bob].map(c => new Promise(r => c.once("connect", r))));
console.log("ann's event sees", JSON.stringify(await ann.emitWithAck("look", "ann")));
console.log("bob's event sees", JSON.stringify(await bob.emitWithAck("look", "bob")), "(want [null,null,'Task-…'])");
console.log("done callbacks that ran:", await bob.emitWithAck("released"), "(want ann)");
for (const n of ["ann", "bob"]) console.log(n + "'s page sees", await (await fetch(u + "/look?name=" + n)).text());
process.exit(0);