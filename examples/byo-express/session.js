// Between the client and the pages: the session cookie, and what a failed call means.

/** `__Host-`: only this host can set it, only over HTTPS (or http://localhost), for all of its paths. */
const COOKIE = "__Host-session";
const ATTRIBUTES = { path: "/", httpOnly: true, secure: true, sameSite: "lax" };
const DEADLINE_MS = 5000; // the client itself would wait for minutes

/** The session token of the request; undefined when there is none, or more than one to choose from. */
export function sessionToken(req) {
  const pairs = (req.headers.cookie ?? "").split(";").map((pair) => pair.trim());
  const mine = pairs.filter((pair) => pair.startsWith(`${COOKIE}=`));
  return mine.length === 1 ? mine[0].slice(COOKIE.length + 1) : undefined;
}

/** The cookie lives as long as the session could; whether it still does, only the server knows. */
export function setCookie(res, token, expiresAt) {
  res.cookie(COOKIE, token, { ...ATTRIBUTES, maxAge: Math.max(0, expiresAt * 1000 - Date.now()) });
}

export const clearCookie = (res) => res.cookie(COOKIE, "", { ...ATTRIBUTES, maxAge: 0 });

/** Nothing is known about the session: no answer, or one that is about this site and not about its visitor. */
export class Unavailable extends Error {}

/** An answer: this may not pass. `type` is the client's; `code` says why, where the type has a reason. */
export class Refused extends Error {
  constructor({ type, details }) {
    super(`${type}${details === undefined ? "" : `: ${typeof details === "string" ? details : JSON.stringify(details)}`}`);
    const code = typeof details === "string" ? details.split(":")[0] : undefined;
    Object.assign(this, { type, details, code, status: statusOf(type, code) });
  }
}

function statusOf(type, code) {
  switch (type) {
    case "InvalidSessionToken":
      // One type for "log in" and for "you are logged in, and may not do this": the code tells them apart.
      return ["tag_missing", "reauthentication_required"].includes(code) ? 403 : 401;
    case "SessionNotFound":
      return 404;
    case "SessionLimitExceeded":
      return 409;
    default:
      return 403; // IpAddressError, and the types about devices
  }
}

/** What a call answered; everything else is thrown, as one of the two above. */
export async function answerOf(call) {
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, DEADLINE_MS, { error: { type: "UnexpectedError", details: "no answer in time" } });
  });
  const { ok, data, error } = await Promise.race([call, late]).finally(() => clearTimeout(timer));
  if (ok) return data;
  if (error?.type === undefined || error.type === "UnexpectedError") throw new Unavailable(error?.details ?? "no answer");
  throw new Refused(error);
}
