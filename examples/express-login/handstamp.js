// All this site knows about Handstamp: six calls over plain HTTP, and two ways in which a call can fail.
import { readFileSync } from "node:fs";
import { env } from "node:process";

const base = (env.HANDSTAMP_URL ?? "http://127.0.0.1:7411").replace(/\/+$/, "");
const keyFile = env.HANDSTAMP_KEY_FILE ?? new URL("../../handstamp-data/access.key", import.meta.url);
const key = (env.HANDSTAMP_KEY ?? readFileSync(keyFile, "utf8")).trim();
const DEADLINE_MS = 5000;

/** No answer, or none that counts: nothing is known about the session, so try again later. */
export class Unavailable extends Error {}

/** Handstamp answered that this call was wrong: `status` and `code` say how. */
export class CallRefused extends Error {
  constructor(call, status, problem) {
    super(`${call}: ${status} ${problem.code}: ${problem.detail}`);
    Object.assign(this, { status, code: problem.code });
  }
}

async function call(method, path, body) {
  let response, answer;
  try {
    response = await fetch(base + path, {
      method,
      headers: { authorization: `Bearer ${key}`, ...(body && { "content-type": "application/json" }) },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    answer = await response.json();
  } catch (cause) {
    throw new Unavailable(`Handstamp at ${base} does not answer`, { cause });
  }
  if (response.ok) return answer;
  if (response.status >= 500 || response.status === 429) throw new Unavailable(`Handstamp: ${answer.code}`);
  throw new CallRefused(`${method} ${path.split("?")[0]}`, response.status, answer);
}

/** A new session; `token` is inside `set_cookie`, ready to be sent to the browser. */
export const create = (user, client) =>
  call("POST", "/v1/sessions", {
    user_id: user.id,
    tags: user.tags,
    data: { name: user.name, plan: user.plan },
    ...client,
  });

/** May this request pass? Also an empty or strange token gets a verdict here, never an error. */
export const validate = (token, client) =>
  call("POST", "/v1/sessions/validate", { token, ...client, rotate: "auto" });

/** Where this user is logged in now. */
export const list = async (userId) =>
  (await call("GET", `/v1/sessions?${new URLSearchParams({ user_id: userId, state: "live", limit: 100 })}`)).items;

/** Ends one session; `user_id` makes sure that nobody ends another user's. */
export const end = (userId, sessionId) =>
  call("DELETE", `/v1/sessions/${encodeURIComponent(sessionId)}?${new URLSearchParams({ user_id: userId })}`);

/** Ends all of the user's sessions but one, and says how many those were. */
export const endOthers = async (userId, keepId) =>
  (await call("POST", "/v1/sessions/revoke", { user_id: userId, except: keepId })).ended;

/** Ends the session of this token. One that never was a session's is as good as ended. */
export async function logout(token) {
  try {
    await call("POST", "/v1/sessions/revoke", { token });
  } catch (error) {
    if (!(error instanceof CallRefused && /^(token|session)_/.test(error.code))) throw error;
  }
}
