// The application's own server: it checks the password, keeps the notes, and serves the page. Handstamp remembers who
// is logged in; this server asks it with its access key, the page asks it with the cookie.
import { createReadStream, existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { env } from "node:process";
import { fileURLToPath } from "node:url";
import { checkPassword } from "./users.js";

const handstamp = (env.HANDSTAMP_URL ?? "http://127.0.0.1:7411").replace(/\/+$/, "");
const keyFile = env.HANDSTAMP_KEY_FILE ?? new URL("../../handstamp-data/access.key", import.meta.url);
const key = (env.HANDSTAMP_KEY ?? readFileSync(keyFile, "utf8")).trim();
const SESSION_COOKIE = env.SESSION_COOKIE ?? "__Host-handstamp"; // the same name as in Handstamp's configuration
const DIST = fileURLToPath(new URL("dist", import.meta.url));
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css" };

const notes = { alice: ["Feed the cat", "Answer the Queen"], bob: ["Order a crane"] };

/** A call with the access key. No answer at all is an accident, not a logout: it becomes a 503. */
async function ask(path, body) {
  const answer = await fetch(handstamp + path, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(5000),
  });
  if (!answer.ok) throw new Error(`Handstamp: ${answer.status} ${(await answer.json()).code}`);
  return answer.json();
}

/** What Handstamp should know about the visitor: it judges address and agent by its policy. */
const client = (request) => ({ ip: request.socket.remoteAddress, user_agent: request.headers["user-agent"] });

/** The session token of the request; empty when there is none, or more than one to choose from. */
function token(request) {
  const pairs = (request.headers.cookie ?? "").split(";").map((pair) => pair.trim());
  const mine = pairs.filter((pair) => pair.startsWith(`${SESSION_COOKIE}=`));
  return mine.length === 1 ? mine[0].slice(SESSION_COOKIE.length + 1) : "";
}

const routes = {
  async "POST /api/login"(request, reply) {
    // Only our own page may log somebody in: JSON from another origin would need a permission that nobody gives.
    if (request.headers["content-type"] !== "application/json") return reply(415, { error: "application/json only" });
    const { username, password } = await json(request);
    const user = await checkPassword(username, password);
    if (!user) return reply(401, { error: "Wrong name or password." });
    const before = token(request);
    if (before) await ask("/v1/sessions/revoke", { token: before }).catch(() => {}); // what this browser had before
    const made = await ask("/v1/sessions", { user_id: user.id, tags: user.tags, data: { name: user.name }, ...client(request) });
    reply(200, {}, made.set_cookie); // both cookies, as they are
  },

  async "GET /api/notes"(request, reply) {
    const verdict = await ask("/v1/sessions/validate", { token: token(request), ...client(request), rotate: "auto" });
    if (!verdict.valid) return reply(verdict.status, { code: verdict.code, error: verdict.detail });
    reply(200, notes[verdict.session.user_id] ?? [], verdict.set_cookie); // now and then the token is replaced: pass it on
  },
};

async function json(request) {
  let text = "";
  for await (const part of request) if ((text += part).length > 4096) throw new Error("the body is too long");
  return JSON.parse(text);
}

/** The built page. Its name changes with its contents, but index.html's does not. */
function file(path, response) {
  const wanted = join(DIST, normalize(path));
  const found = wanted.startsWith(DIST) && existsSync(wanted) && statSync(wanted).isFile() ? wanted : join(DIST, "index.html");
  response.writeHead(200, {
    "content-type": TYPES[extname(found)] ?? "application/octet-stream",
    "cache-control": found.endsWith("index.html") ? "no-store" : "max-age=31536000, immutable",
    "x-content-type-options": "nosniff",
  });
  createReadStream(found).pipe(response);
}

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, "http://localhost");
  const reply = (status, body, cookies = []) => {
    response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store", "set-cookie": cookies });
    response.end(JSON.stringify(body));
  };
  const route = routes[`${request.method} ${pathname}`];
  try {
    if (route) await route(request, reply);
    else if (request.method === "GET" && !pathname.startsWith("/api/")) file(pathname, response);
    else reply(404, { error: "There is nothing here." });
  } catch (error) {
    console.error(error.message);
    reply(503, { error: "Please try again in a moment." });
  }
});

server.listen(Number(env.PORT ?? 3000), "127.0.0.1", () => {
  console.log(`the site is on http://localhost:${server.address().port}`);
});
