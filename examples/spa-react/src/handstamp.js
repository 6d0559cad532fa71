// All that the page knows about Handstamp: a few calls that bring the cookie along, and one token for those that change
// something. The cookie itself is out of a script's reach.
const api = import.meta.env.VITE_HANDSTAMP_URL ?? "http://localhost:7411";
let csrf = "";

/** Handstamp's answer was no: `code` says why, `status` what kind. Anything else that is thrown is an accident. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail);
    Object.assign(this, { status, code: problem.code });
  }
}

async function call(method, path) {
  const answer = await fetch(`${api}/v1/auth${path}`, {
    method,
    credentials: "include",
    headers: method === "GET" ? {} : { "X-XSRF-TOKEN": csrf },
  });
  const body = answer.headers.get("content-type")?.includes("json") ? await answer.json() : undefined;
  if (answer.ok) return body;
  if (answer.status >= 500 || answer.status === 429) throw new Error(body?.detail ?? `status ${answer.status}`);
  throw new Refused(answer.status, body);
}

/** A call that changes something. A token that does not fit (any more) is fetched anew, once. */
async function change(method, path) {
  try {
    return await call(method, path);
  } catch (error) {
    if (error.code !== "csrf_token_invalid") throw error;
    await session();
    return call(method, path);
  }
}

/** `{ user, session, expires_at }` of whoever is logged in, or null. */
export async function session() {
  try {
    const found = await call("GET", "/session");
    csrf = found.csrf_token;
    return found;
  } catch (error) {
    if (error instanceof Refused && error.status === 401) return null;
    throw error;
  }
}

export const ping = () => call("GET", "/session/ping");
export const devices = async () => (await call("GET", "/sessions")).items;
export const end = (id) => change("DELETE", `/sessions/${encodeURIComponent(id)}`);
export const endOthers = () => change("POST", "/sessions/revoke-others");
export const logout = () => change("POST", "/logout");
