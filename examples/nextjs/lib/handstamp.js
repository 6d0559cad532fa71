// All that this server knows about Handstamp. Two kinds of calls: with the visitor's cookie passed on, and with the
// access key alone.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { env } from "node:process";
import { cookies, headers } from "next/headers";

const base = (env.HANDSTAMP_URL ?? "http://127.0.0.1:7411").replace(/\/+$/, "");
const SESSION_COOKIE = env.SESSION_COOKIE ?? "__Host-handstamp"; // the same name as in Handstamp's configuration

/** Where the browser finds Handstamp: a host of the same site as this one. */
export const publicUrl = () => env.HANDSTAMP_PUBLIC_URL ?? "http://localhost:7411";

function key() {
  if (env.HANDSTAMP_KEY) return env.HANDSTAMP_KEY;
  const file = env.HANDSTAMP_KEY_FILE ?? join(process.cwd(), "../../handstamp-data/access.key");
  return readFileSync(/* turbopackIgnore: true */ file, "utf8").trim();
}

/** Who asks: Next.js says the address of the connection, or what the proxy before it says. */
async function client() {
  const asked = await headers();
  const ip = asked.get("x-forwarded-for")?.split(",").at(-1).trim().replace("::ffff:", "");
  return { ip, user_agent: asked.get("user-agent") ?? "" };
}

async function call(method, path, more, body) {
  const answer = await fetch(base + path, {
    method,
    headers: { ...more, ...(body && { "content-type": "application/json" }) },
    body: body && JSON.stringify(body),
    cache: "no-store", // nothing of a session is ever kept
    signal: AbortSignal.timeout(5000),
  });
  return { status: answer.status, body: await answer.json() };
}

/** The session of the visitor, or null. Anything but an answer of Handstamp's is thrown: it is no logout. */
export async function session() {
  const token = (await cookies()).get(SESSION_COOKIE)?.value;
  if (!token) return null;
  const { ip, user_agent } = await client();
  const { status, body } = await call("GET", "/v1/auth/session", {
    cookie: `${SESSION_COOKIE}=${token}`,
    // The key says that this server may speak for somebody else. Without it the connection's own address and agent
    // would be judged, which are this server's and not the visitor's.
    "x-handstamp-key": key(),
    "user-agent": user_agent,
    "x-forwarded-for": ip,
  });
  if (status === 200) return body;
  if (status === 401) return null;
  throw new Error(`Handstamp: ${status} ${body.code}`);
}

/** A new session; the answer's `set_cookie` goes to the browser as it is. */
export async function create(user) {
  const asked = { user_id: user.id, tags: user.tags, data: { name: user.name }, ...(await client()) };
  const { status, body } = await call("POST", "/v1/sessions", { authorization: `Bearer ${key()}` }, asked);
  if (status !== 201) throw new Error(`Handstamp: ${status} ${body.code}`);
  return body;
}
