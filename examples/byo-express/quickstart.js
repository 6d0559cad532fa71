// The least that a login needs: three calls. `server.js` is the same site with all that a real one wants.
import { client } from "./byo.js";
import * as pages from "./pages.js";
import { answerOf, clearCookie, sessionToken, setCookie } from "./session.js";
import { begin, serve } from "./site.js";
import { checkPassword } from "./users.js";

const app = begin();

app.get("/", (req, res) => res.redirect(303, "/account"));

app.get("/login", (req, res) => {
  res.send(pages.login(req.query.out === undefined ? undefined : "You are logged out."));
});

app.post("/login", async (req, res) => {
  const user = await checkPassword(req.body?.username, req.body?.password);
  if (!user) return res.status(401).send(pages.login("Wrong name or password."));
  const created = await answerOf(client.session.create({ userId: user.id }));
  setCookie(res, created.sessionToken, created.expiresAt);
  res.redirect(303, "/account");
});

app.get("/account", async (req, res) => {
  const session = await answerOf(client.session.validate({ sessionToken: sessionToken(req) }));
  res.send(pages.account(session));
});

app.post("/logout", async (req, res) => {
  await answerOf(client.session.invalidateByToken({ sessionToken: sessionToken(req) }));
  clearCookie(res); // first there, then here: a cookie alone is no logout
  res.redirect(303, "/login?out");
});

serve(app);
