// The checker is fed answers that are wrong in one way each, and must find every one; and right ones, and must find nothing.
import { StrictClient } from "../support/clients.mjs";

const NOW = Math.floor(Date.now() / 1000);
const SESSION = { sessionId: "s", createdAt: NOW, expiresAt: NOW, lastActivityAt: NOW, device: { displayName: "x", deviceType: "Desktop" } };
const VALID = { sessionId: "s", userId: "ada", createdAt: NOW, expiresAt: NOW, hasDeviceRegistered: false };
const KEY = { kty: "RSA", kid: "k", use: "sig", alg: "RS256", n: "n", e: "AQAB" };
const PAGE = { items: [SESSION], page: 0, pageSize: 100, totalCount: 1, hasMoreResults: false };
const UNEXPECTED = { type: "UnexpectedError", details: "store_unavailable: not now" };

const without = (value, name) => Object.fromEntries(Object.entries(value).filter(([own]) => own !== name));
const text = JSON.stringify;
const JSON_TYPE = { "content-type": "application/json" };

/** Command, status, body as text; then headers where they are others. */
const RIGHT = [
  ["Ping", 200, text({ timestamp: NOW })],
  ["ValidateSession", 200, text(VALID), { "content-type": "application/json; charset=utf-8" }],
  ["ValidateSession", 200, text({ ...VALID, tags: [], metadata: null })],
  ["ValidateSession", 200, text(VALID).replace("}", ',"metadata":{"a":[1.5,{"createdAt":1,"b":null}]}}')],
  ["FetchAllSessions", 200, text(PAGE)],
  ["UpdateSession", 200, "{}"],
  ["GetJwks", 200, text({ keys: [KEY] })],
  ["CreateSession", 409, text({ type: "SessionLimitExceeded", details: { currentCount: 2, maxAllowed: 2 } })],
  ["UpdateSession", 404, text({ type: "SessionNotFound" })],
  ["Ping", 503, text(UNEXPECTED)],
  ["Nothing", 400, text({ type: "UnexpectedError", details: "invalid_request: /command: unknown" })],
];

/** The same, and before it what is wrong with it. */
const WRONG = [
  ["one member more", "CreateSession", 200, text({ sessionId: "s", sessionToken: "t", expiresAt: NOW, requestId: "r" })],
  ["one member more inside", "FetchAllSessions", 200, text({ ...PAGE, items: [{ ...SESSION, userId: "ada" }] })],
  ["one member more at the bottom", "FetchSessionById", 200, text({ ...SESSION, device: { ...SESSION.device, model: "x" } })],
  ["something in what is empty", "UpdateSession", 200, text({ updated: 1 })],
  ["a token from a command that gives none", "ValidateSession", 200, text({ ...VALID, newSessionToken: "t" })],
  ["one member less", "ValidateSession", 200, text(without(VALID, "hasDeviceRegistered"))],
  ["one member less inside", "FetchAllSessions", 200, text({ ...PAGE, items: [without(SESSION, "lastActivityAt")] })],
  ["null for an optional text", "ValidateSession", 200, text({ ...VALID, tags: null })],
  ["a time with a fraction", "Ping", 200, text({ timestamp: NOW + 0.5 })],
  ["a time with a point", "Ping", 200, `{"timestamp":${NOW}.0}`],
  ["a time with an exponent", "Ping", 200, '{"timestamp":17e8}'],
  ["a time in milliseconds", "Ping", 200, text({ timestamp: NOW * 1000 })],
  ["a time as a text", "Ping", 200, text({ timestamp: `${NOW}` })],
  ["a time in milliseconds inside", "FetchAllSessions", 200, text({ ...PAGE, items: [{ ...SESSION, createdAt: NOW * 1000 }] })],
  ["a count with a point", "UpdateSessions", 200, '{"updatedCount":1.0}'],
  ["a member twice", "Ping", 200, `{"timestamp":${NOW},"timestamp":${NOW}}`],
  ["another kind of device", "FetchSessionById", 200, text({ ...SESSION, device: { ...SESSION.device, deviceType: "desktop" } })],
  ["no RSA key", "GetJwks", 200, text({ keys: [{ kty: "EC", crv: "P-256", x: "x", y: "y", kid: "k", use: "sig", alg: "ES256" }] })],
  ["a key with one member more", "GetJwks", 200, text({ keys: [{ ...KEY, x5t: "x" }] })],
  ["a body around the answer", "Ping", 200, text({ data: { timestamp: NOW } })],
  ["201", "CreateSession", 201, text({ sessionId: "s", sessionToken: "t", expiresAt: NOW })],
  ["202", "UpdateSession", 202, "{}"],
  ["204", "UpdateSession", 204, ""],
  ["a redirect", "UpdateSession", 302, "{}"],
  ["nothing", "UpdateSession", 200, ""],
  ["no JSON", "UpdateSession", 200, "ok"],
  ["half of it", "UpdateSession", 200, '{"a":'],
  ["no content type", "UpdateSession", 200, "{}", {}],
  ["another content type", "UpdateSession", 200, "{}", { "content-type": "text/plain" }],
  ["problem documents", "Ping", 503, text(UNEXPECTED), { "content-type": "application/problem+json" }],
  ["an error with 200", "UpdateSession", 200, text({ type: "SessionNotFound" })],
  ["an error of another command", "FetchAllSessions", 404, text({ type: "SessionNotFound" })],
  ["an error of keys", "Ping", 401, text({ type: "IntegrationKeyNotFound" })],
  ["an error without a type", "Ping", 401, text({ details: "access_key_invalid: no" })],
  ["an error with one member more", "Ping", 503, text({ ...UNEXPECTED, message: "not now" })],
  ["details where there are none", "UpdateSession", 404, text({ type: "SessionNotFound", details: "session_not_found: none" })],
  ["null details where there are none", "UpdateSession", 404, text({ type: "SessionNotFound", details: null })],
  ["no details", "Ping", 503, text({ type: "UnexpectedError" })],
  ["null details", "Ping", 503, text({ type: "UnexpectedError", details: null })],
  ["details that are an object", "ValidateSession", 401, text({ type: "InvalidSessionToken", details: { code: "session_idle" } })],
  ["details without a code", "ValidateSession", 401, text({ type: "InvalidSessionToken", details: "it is idle" })],
  ["another name inside of details", "UpdateSession", 409, text({ type: "CannotModifyOnCreateOnlyTags", details: { tagNames: ["org"] } })],
  ["both names inside of details", "UpdateSession", 409, text({ type: "CannotModifyOnCreateOnlyTags", details: { tag_names: ["org"], tagNames: ["org"] } })],
  ["a count as a text", "CreateSession", 409, text({ type: "SessionLimitExceeded", details: { currentCount: "2", maxAllowed: 2 } })],
  ["a challenge in milliseconds", "ValidateSession", 403, text({ type: "NewDeviceChallengeRequired", details: { deviceChallenge: "c", expiresAt: NOW * 1000 } })],
  ["a fault as an invalid token", "ValidateSession", 503, text({ type: "InvalidSessionToken", details: "store_unavailable: not now" })],
  ["a secret in an error", "ValidateSession", 401, text({ type: "InvalidSessionToken", details: "token_malformed: hst_0123456789abcdef is none" })],
  ["an error type for what is no command", "Nothing", 404, text({ type: "SessionNotFound" })],
  ["a success of what is no command", "Nothing", 200, "{}"],
];

/** What a client reads without noticing: the judge finds it, the strict client cannot. */
const UNNOTICED = [
  "a time in milliseconds",
  "a time in milliseconds inside",
  "a member twice",
  "details without a code",
  "a challenge in milliseconds",
  "a fault as an invalid token",
  "a secret in an error",
];

const exchange = (command, status, body, headers = JSON_TYPE) => ({
  request: { start: "POST /run-command HTTP/1.1", body: text({ command, data: {} }) },
  answer: { start: `HTTP/1.1 ${status} X`, headers, body },
});

/** How many wrong answers were found out: by the judge all, by the reader of the strict client all that a client can. */
export function checker(judge, declared, fail) {
  const strict = new StrictClient(declared);
  const raises = (command, status, body, headers = JSON_TYPE) => {
    const method = declared.methods.find((one) => one.command === command);
    return Boolean(strict.read(method, status, headers["content-type"] ?? "", body).raised);
  };
  const isCommand = ([command]) => command !== "Nothing";
  for (const one of RIGHT) {
    const problems = judge.problems(exchange(...one));
    if (problems.length) fail("checker", `${one} is right`, problems.join("\n"));
    if (isCommand(one) && raises(...one)) fail("checker", `${one} is right`, "and the strict client cannot read it");
  }
  let found = 0;
  for (const [what, ...one] of WRONG) {
    if (judge.problems(exchange(...one)).length) found += 1;
    else fail("checker", what, `was not found out: ${one.join(" ")}`);
    if (isCommand(one) && raises(...one) === UNNOTICED.includes(what)) fail("checker", what, `the strict client: ${one.join(" ")}`);
  }
  for (const [what, change] of [
    ["another version of HTTP", ({ answer }) => (answer.start = "HTTP/1.0 200 OK")],
    ["a change of the protocol", ({ answer }) => (answer.start = "HTTP/1.1 101 Switching Protocols")],
    ["a cookie", ({ answer }) => (answer.headers = { ...answer.headers, "set-cookie": "a=b" })],
    ["another address", ({ request }) => (request.start = "POST /v2/run-command HTTP/1.1")],
  ]) {
    const one = exchange("UpdateSession", 200, "{}");
    change(one);
    if (judge.problems(one).length) found += 1;
    else fail("checker", what, "was not found out");
  }
  return found;
}
