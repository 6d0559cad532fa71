// A peer of ./bench: Express with express-session on connect-redis, as their documentation sets them up.
// GET and EXPIRE to Redis per request. The switches that cost time and that a session check does not need are off
// (etag, x-powered-by, logging).
import { createHmac, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createClient } from "redis";

const { values: options } = parseArgs({
  options: {
    redis: { type: "string" },
    sessions: { type: "string" },
    "answer-bytes": { type: "string" },
    cookies: { type: "string" },
    agents: { type: "string" },
  },
});
const secret = randomBytes(32).toString("hex");
const day = 24 * 60 * 60 * 1000;
const agents = readFileSync(options.agents, "utf8").split("\n");

const client = createClient({ url: `redis://127.0.0.1:${options.redis}` });
await client.connect();
const store = new RedisStore({ client });

// The same people as everywhere else: four sessions a user, two tags, 120 bytes of data, an address, an agent.
function login(index) {
  const user = Math.floor(index / 4);
  return {
    user_id: `user-${String(user).padStart(7, "0")}`,
    tags: [`org:acme-${String(index % 1000).padStart(3, "0")}`, "role:member"],
    data: { name: `Person ${index}`, plan: "team", locale: "de-AT", cart: "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz" },
    ip: `10.${(user >> 16) & 255}.${(user >> 8) & 255}.${user & 255}`,
    user_agent: agents[index % agents.length],
    created_at: new Date().toISOString(),
  };
}

// The cookie that express-session would have sent with this id.
function cookie(id) {
  const signature = createHmac("sha256", secret).update(id).digest("base64").replace(/=+$/, "");
  return encodeURIComponent(`s:${id}.${signature}`);
}

async function fill(count) {
  const cookies = [];
  for (let from = 0; from < count; from += 1000) {
    const writes = [];
    for (let index = from; index < Math.min(from + 1000, count); index += 1) {
      const id = randomBytes(24).toString("base64url");
      cookies.push(cookie(id));
      writes.push(store.set(id, { cookie: new session.Cookie({ maxAge: day }), login: login(index) }));
    }
    await Promise.all(writes);
    if (from % 5000 === 0) console.log(`filled ${from}`);
  }
  writeFileSync(options.cookies, cookies.join("\n") + "\n");
}

await fill(Number(options.sessions));

const bare = JSON.stringify({ valid: true, session: login(0), padding: "" });
const padding = "x".repeat(Math.max(0, Number(options["answer-bytes"]) - bare.length));

const app = express();
app.set("etag", false);
app.disable("x-powered-by");
app.use(session({ store, secret, resave: false, saveUninitialized: false, cookie: { maxAge: day } }));
app.get("/session", (request, response) => {
  if (!request.session.login) {
    response.status(401).json({ valid: false });
    return;
  }
  response.json({ valid: true, session: request.session.login, padding });
});
const server = app.listen(0, "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
