// What both sites have in common around their routes: headers, a look at where a form came from, and errors.
import express from "express";
import { env } from "node:process";
import { fileURLToPath } from "node:url";
import * as pages from "./pages.js";
import { Refused, Unavailable } from "./session.js";

export function begin() {
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
  return app;
}

export function serve(app) {
  app.use((req, res) => res.status(404).send(pages.message("There is no such page", "")));

  app.use((error, req, res, _next) => {
    if (error instanceof Unavailable) {
      // Nobody knows whether the session is good: not logged in, but not logged out either. The cookie stays.
      console.error(`the session server: ${error.message}`);
      res.set("Retry-After", "2");
      return res.status(503).send(pages.message("Please try again in a moment", "You are not logged out."));
    }
    if (error instanceof Refused) {
      // The log gets the sentence with its numbers, the visitor what is meant for them. The cookie is left alone:
      // another tab may have logged in meanwhile, and clearing would end that.
      if (error.code !== "token_missing") console.error(`${req.method} ${req.path}: ${error.message}`);
      return res.status(error.status).send(pages.refused(error));
    }
    const status = error.expose ? error.status : 500; // Express marks what the client did wrong
    if (status === 500) console.error(error);
    res.status(status).send(pages.message("That did not work", "Nothing was changed. The site's log says more."));
  });

  const server = app.listen(Number(env.PORT ?? 3000), env.HOST ?? "127.0.0.1", (error) => {
    if (error) throw error;
    console.log(`the site is on http://localhost:${server.address().port}`);
  });
}
