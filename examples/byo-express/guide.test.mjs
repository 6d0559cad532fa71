// The code of docs/moving-from-propelauth-byo.md, as it stands there, against the real Handstamp.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { env, execPath } from "node:process";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { Handstamp, binary, here } from "./testing.mjs";

let handstamp;

before(async () => {
  handstamp = await Handstamp.started("");
});

after(() => handstamp?.end());

/** The code of the guide, by its language, as it stands there. */
async function guide(language) {
  const text = await readFile(join(here, "../../docs/moving-from-propelauth-byo.md"), "utf8");
  return [...text.matchAll(/^```(\w+)\n([^]*?)^```$/gm)].filter((each) => each[1] === language).map((each) => each[2]);
}

test("the guide's client answers, and its policy is right", async () => {
  const [client] = await guide("js");
  const file = join(here, "node_modules/.guide.mjs"); // beside the package that it imports
  await writeFile(file, client.replace("http://127.0.0.1:7411", handstamp.url));
  const said = execFileSync(execPath, [file], { env: { HANDSTAMP_KEY: handstamp.key }, encoding: "utf8" });
  assert.match(said, /ok: true[^]*timestamp: \d{10}/);
  const [policy] = await guide("toml");
  await writeFile(join(handstamp.folder, "guide.toml"), policy);
  execFileSync(binary, ["policy", "check", join(handstamp.folder, "guide.toml")], { stdio: "pipe", env: { PATH: env.PATH } });
  await rm(file);
});

test("the guide's code for both servers asks the right one, and takes no outage for a logout", async () => {
  // A stand-in for the server from before, as far as its answers are known.
  const live = new Set(["before-ada", "before-zoe"]);
  const ended = (data) => ({ sessionsInvalidated: Number(live.delete(`before-${data.userId}`)) });
  const answers = {
    ValidateAndRefreshSession: ({ sessionToken }) =>
      live.has(sessionToken) && { sessionId: "1", userId: sessionToken.slice(7), createdAt: 1, expiresAt: 2, hasDeviceRegistered: false },
    InvalidateSessionByToken: ({ sessionToken }) => live.delete(sessionToken) && {},
    InvalidateAllSessionsForUser: ended,
    InvalidateAllSessionsForUserExceptOne: () => ({ sessionsInvalidated: 0 }),
    FetchAllSessionsForUser: () => ({ sessions: [{ sessionId: "1" }] }),
  };
  let away = false;
  const former = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { command, data } = JSON.parse(Buffer.concat(chunks));
    const answer = !away && answers[command](data);
    response.writeHead(answer ? 200 : away ? 503 : 401, { "content-type": "application/json" });
    response.end(JSON.stringify(answer || { type: away ? "UnexpectedError" : "InvalidSessionToken", details: "no" }));
  });
  await once(former.listen(0, "127.0.0.1"), "listening");
  const file = join(here, "node_modules/.both.mjs");
  await writeFile(file, (await guide("js"))[1]);
  Object.assign(env, {
    BYO_URL: `http://127.0.0.1:${former.address().port}`,
    BYO_INTEGRATION_KEY: "of before",
    HANDSTAMP_URL: handstamp.url,
    HANDSTAMP_KEY: handstamp.key,
  });
  try {
    const both = await import(pathToFileURL(file));
    const { sessionToken, sessionId } = (await both.create({ userId: "zoe" })).getOrThrow();
    const userOf = async (token) => (await both.validateAndRefresh({ sessionToken: token })).getOrThrow().userId;
    assert.equal(await userOf(sessionToken), "zoe");
    assert.equal(await userOf("before-ada"), "ada");
    assert.match((await both.validateAndRefresh({})).error.details, /^token_missing: /);
    const list = (await both.fetchAllForUser({ userId: "zoe" })).data.sessions.map((each) => each.sessionId);
    assert.deepEqual(list, [sessionId, "1"]);

    assert.ok((await both.invalidateByToken({ sessionToken: "before-ada" })).ok);
    assert.equal((await both.validateAndRefresh({ sessionToken: "before-ada" })).error.type, "InvalidSessionToken");
    assert.ok((await both.invalidateOthers({ userId: "zoe", sessionTokenToKeep: sessionToken })).ok);
    assert.equal(await userOf(sessionToken), "zoe");
    assert.ok(!live.has("before-zoe"), "the others are those in the other place, too");

    live.add("before-zoe");
    assert.ok((await both.invalidateOthers({ userId: "zoe", sessionTokenToKeep: "before-zoe" })).ok);
    assert.equal(await userOf("before-zoe"), "zoe");
    assert.equal((await handstamp.own(`/v1/sessions/${sessionId}`)).state, "ended");

    away = true;
    for (const call of [
      both.validateAndRefresh({ sessionToken: "before-zoe" }),
      both.fetchAllForUser({ userId: "zoe" }),
      both.invalidateOthers({ userId: "zoe", sessionTokenToKeep: "before-zoe" }),
    ])
      assert.equal((await call).error.type, "UnexpectedError");
  } finally {
    former.close();
    former.closeAllConnections();
    await rm(file);
  }
});
