// The whole site: it says who asks, keeps data with the session, and passes new tokens on to the browser.
// Read from top to bottom: the guard that every protected page passes, then the pages.
import { client } from "./byo.js";
import * as pages from "./pages.js";
import { Refused, answerOf, clearCookie, sessionToken, setCookie } from "./session.js";
import { begin, serve } from "./site.js";
import { checkPassword } from "./users.js";

const app = begin();

/** Who asks. It goes along when a session is made and whenever it is used: the server's policy judges it. */
const clientOf = (req) => ({ ipAddress: req.ip, userAgent: req.get("user-agent") });

/** The guard. It lets a request pass, or throws: `site.js` tells a refusal from an outage. */
const requireSession = (requiredTags) => async (req, res, next) => {
  const sent = { sessionToken: sessionToken(req), requiredTags, ...clientOf(req) };
  req.session = await answerOf(client.session.validateAndRefresh(sent));
  // From time to time the token is rotated, and the browser must get the new one.
  const { newSessionToken, expiresAt } = req.session;
  if (newSessionToken) setCookie(res, newSessionToken, expiresAt);
  next();
};

app.get("/", (req, res) => res.redirect(303, "/account"));

app.get("/login", (req, res) => {
  res.send(pages.login(req.query.out === undefined ? undefined : "You are logged out."));
});

app.post("/login", async (req, res) => {
  const user = await checkPassword(req.body?.username, req.body?.password);
  if (!user) return res.status(401).send(pages.login("Wrong name or password."));
  // What this browser had before would live on, unseen; and it may be the one that makes a limit of sessions full.
  const before = sessionToken(req);
  if (before) await answerOf(client.session.invalidateByToken({ sessionToken: before }));
  const created = await answerOf(
    client.session.create({
      userId: user.id,
      tags: user.tags,
      metadata: { name: user.name, plan: user.plan },
      ...clientOf(req),
    }),
  );
  setCookie(res, created.sessionToken, created.expiresAt);
  res.redirect(303, "/account");
});

app.get("/account", requireSession(), async (req, res) => {
  const { sessions } = await answerOf(client.session.fetchAllForUser({ userId: req.session.userId }));
  res.send(pages.account(req.session, sessions, req.query.ended));
});

app.get("/office", requireSession(["role:admin"]), (req, res) => {
  res.send(pages.message("The office", "Only sessions with the tag role:admin come in here."));
});

app.post("/devices/sign-out", requireSession(), async (req, res) => {
  // With `userId` nobody ends the session of somebody else, whatever id the form brings.
  const call = client.session.invalidateById({ sessionId: String(req.body?.id), userId: req.session.userId });
  const gone = await answerOf(call).catch((error) => {
    if (!(error instanceof Refused && error.type === "SessionNotFound")) throw error;
  });
  res.redirect(303, gone ? "/account?ended=1" : "/account?ended=0");
});

app.post("/devices/sign-out-others", requireSession(), async (req, res) => {
  const { sessionsInvalidated } = await answerOf(
    client.session.invalidateAllForUserExceptOne({
      userId: req.session.userId,
      sessionTokenToKeep: sessionToken(req), // also when it was replaced just now: it is of the same session
    }),
  );
  res.redirect(303, `/account?ended=${sessionsInvalidated}`);
});

app.post("/logout", async (req, res) => {
  await answerOf(client.session.invalidateByToken({ sessionToken: sessionToken(req) }));
  clearCookie(res); // first there, then here: a cookie alone is no logout
  res.redirect(303, "/login?out");
});

serve(app);
