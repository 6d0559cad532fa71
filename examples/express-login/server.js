// A small site with a login. It checks the password; Handstamp remembers who is logged in.
// Read from top to bottom: the guard that every protected page passes, then the pages.
import express from "express";
import { env } from "node:process";
import { fileURLToPath } from "node:url";
import * as handstamp from "./handstamp.js";
import * as pages from "./pages.js";
import { checkPassword } from "./users.js";

const SESSION_COOKIE = env.SESSION_COOKIE ?? "__Host-handstamp"; // the same name as in Handstamp's configuration
const CSRF_COOKIE = env.CSRF_COOKIE ?? "XSRF-TOKEN";

const app = express();
app.disable("x-powered-by");
// Behind a proxy, say which addresses are the proxy's: only then does `req.ip` believe X-Forwarded-For.
if (env.TRUSTED_PROXIES) app.set("trust proxy", env.TRUSTED_PROXIES);

app.use((req, res, next) => {
  res.set({
    "Cache-Control": "no-store", // a page of a session belongs into no cache, also not the browser's
    "Content-Security-Policy":
      "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin", // "no-referrer" would blank the Origin of our own forms
    "X-Content-Type-Options": "nosniff",
  });
  next();
});

// The cookie is SameSite=Lax, so another site cannot post with it; the Origin also stops a sister host of ours.
app.use((req, res, next) => {
  const own = [`http://${req.headers.host}`, `https://${req.headers.host}`];
  if (["GET", "HEAD"].includes(req.method) || own.includes(req.headers.origin)) return next();
  res.status(403).send(pages.message("That form came from another site", "Nothing was changed."));
});

app.use(express.static(fileURLToPath(new URL("public", import.meta.url)), { index: false }));
app.use(express.urlencoded({ extended: false, limit: "4kb" }));

/** The session token of the request; empty when there is none, or more than one to choose from. */
function sessionToken(req) {
  const pairs = (req.headers.cookie ?? "").split(";").map((pair) => pair.trim());
  const mine = pairs.filter((pair) => pair.startsWith(`${SESSION_COOKIE}=`));
  return mine.length === 1 ? mine[0].slice(SESSION_COOKIE.length + 1) : "";
}

/** What Handstamp should know about the client: it judges address and user agent by its policy. */
const clientOf = (req) => ({ ip: req.ip, user_agent: req.get("user-agent") });

const passOn = (res, cookies = []) => cookies.forEach((cookie) => res.append("Set-Cookie", cookie));

/** The guard. It lets a request pass, says why not, or (when Handstamp is away) fails without an opinion. */
async function requireSession(req, res, next) {
  const verdict = await handstamp.validate(sessionToken(req), clientOf(req));
  // A refused cookie is left alone: another tab may have logged in meanwhile, and clearing would end that.
  if (!verdict.valid) return res.status(verdict.status).send(pages.refused(verdict));
  passOn(res, verdict.set_cookie); // from time to time the token is rotated: the browser must get the new one
  req.session = verdict.session;
  next();
}

app.get("/", (req, res) => res.redirect(303, "/account"));

app.get("/login", (req, res) => {
  res.send(pages.login(req.query.out === undefined ? undefined : "You are logged out."));
});

app.post("/login", async (req, res) => {
  const user = await checkPassword(req.body?.username, req.body?.password);
  if (!user) return res.status(401).send(pages.login("Wrong name or password."));
  const before = sessionToken(req);
  if (before) await handstamp.logout(before); // else this browser's last session would live on, unseen
  const created = await handstamp.create(user, clientOf(req));
  passOn(res, created.set_cookie);
  res.redirect(303, "/account");
});

app.get("/account", requireSession, async (req, res) => {
  const devices = await handstamp.list(req.session.user_id);
  res.send(pages.account(req.session, devices, req.query.ended));
});

app.post("/devices/sign-out", requireSession, async (req, res) => {
  const { ended } = await handstamp.end(req.session.user_id, String(req.body?.id));
  res.redirect(303, `/account?ended=${ended}`);
});

app.post("/devices/sign-out-others", requireSession, async (req, res) => {
  const ended = await handstamp.endOthers(req.session.user_id, req.session.id);
  res.redirect(303, `/account?ended=${ended}`);
});

app.post("/logout", async (req, res) => {
  await handstamp.logout(sessionToken(req)); // first there, then here: a cookie alone is no logout
  passOn(res, [
    `${SESSION_COOKIE}=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax`,
    `${CSRF_COOKIE}=; Path=/; Max-Age=0; Secure; SameSite=Lax`,
  ]);
  res.redirect(303, "/login?out");
});

app.use((req, res) => res.status(404).send(pages.message("There is no such page", "")));

app.use((error, req, res, _next) => {
  if (error instanceof handstamp.Unavailable) {
    // Nobody knows whether the session is good: not logged in, but not logged out either. The cookie stays.
    console.error(error.message);
    res.set("Retry-After", "2");
    return res.status(503).send(pages.message("Please try again in a moment", "You are not logged out."));
  }
  // That device was already gone (404), or this one went first (409): look at the list again.
  const gone = error instanceof handstamp.CallRefused && [404, 409].includes(error.status);
  if (gone && req.path.startsWith("/devices/")) return res.redirect(303, "/account");
  const status = error.expose ? error.status : 500; // Express marks what the client did wrong
  if (status === 500) console.error(error instanceof handstamp.CallRefused ? error.message : error);
  res.status(status).send(pages.message("That did not work", "Nothing was changed. The site's log says more."));
});

const server = app.listen(Number(env.PORT ?? 3000), env.HOST ?? "127.0.0.1", (error) => {
  if (error) throw error;
  console.log(`the site is on http://localhost:${server.address().port}`);
});
