// The pages: functions from what is known to HTML. Every value put into a page is escaped.

class Html extends String {}

const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escape = (text) => String(text).replace(/[&<>"']/g, (c) => ENTITIES[c]);

function html(parts, ...values) {
  const render = (value) =>
    Array.isArray(value) ? value.map(render).join("") : value instanceof Html ? value : escape(value ?? "");
  return new Html(parts.reduce((page, part, i) => page + render(values[i - 1]) + part));
}

function layout(title, content) {
  return html`<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>${title}</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/style.css">
</head>
<body>
<main>
${content}
</main>
</body>
</html>
`.toString();
}

const loginForm = html`<form method="post" action="/login">
  <label>Name <input name="username" autocomplete="username" required autofocus></label>
  <label>Password <input name="password" type="password" autocomplete="current-password" required></label>
  <button>Log in</button>
</form>
<p class="quiet">Try <code>alice</code> with <code>down the rabbit hole</code>, or <code>bob</code> with <code>can we fix it</code>.</p>`;

export const login = (notice) =>
  layout("Log in", html`<h1>Log in</h1>
${notice ? html`<p class="notice" role="status">${notice}</p>` : ""}
${loginForm}`);

export const message = (title, detail) =>
  layout(title, html`<h1>${title}</h1>
<p>${detail}</p>
<p><a href="/account">Back to your account</a></p>`);

/** Reasons that help the person in front of the browser. Any other is for the log, and they just log in again. */
const ENDED = {
  token_missing: "You are not logged in.",
  session_idle: "You were away for a while, so you were logged out.",
  session_expired: "Your login has reached its end.",
  session_revoked: "You were logged out, here or from another device.",
  session_evicted: "You logged in on another device, and this one made room for it.",
  token_reused: "Your session was used from two places, so it was ended. If that was not you, change your password.",
  user_agent_changed: "Your session was used from another browser, so it was ended. If that was not you, change your password.",
};

/** What a refusal means for its visitor. */
export function refused({ type, code, details, status }) {
  if (code === "token_superseded")
    return message("This page is a little behind", "Your browser has a newer session by now: go back and reload.");
  if (status === 401) return login(ENDED[code] ?? "Please log in again.");
  if (type === "SessionLimitExceeded")
    return login(`You are logged in ${details.currentCount} times, and ${details.maxAllowed} are allowed: log out somewhere first.`);
  if (type === "IpAddressError") return message("Not from here", "This is not allowed from the address that you have now.");
  if (code === "tag_missing") return message("Not for you", "You are still logged in, but this page is for others.");
  return message("That is not allowed", "You are still logged in.");
}

const when = (seconds) => {
  const time = new Date(seconds * 1000).toISOString();
  return html`<time datetime="${time}">${time.replace("T", " ").replace(/\.\d+Z$/, " UTC")}</time>`;
};

const device = (session, own) => html`<li>
  <span>
    <strong>${session.device.displayName}</strong>
    <small>${session.ipAddress}, active ${when(session.lastActivityAt)}</small>
  </span>
  ${own
    ? html`<em>this device</em>`
    : html`<form method="post" action="/devices/sign-out">
    <input type="hidden" name="id" value="${session.sessionId}">
    <button class="plain">Sign out</button>
  </form>`}
</li>`;

const list = (devices, own) => html`<h2>Your devices</h2>
<ul>${devices.map((each) => device(each, each.sessionId === own))}</ul>`;

/** The account; with its devices, where the caller knows them. */
export const account = (session, devices, ended) =>
  layout("Your account", html`<h1>Hello, ${session.metadata?.name ?? session.userId}</h1>
${/^\d+$/.test(ended) ? html`<p class="notice" role="status">Signed out elsewhere: ${ended}</p>` : ""}
<dl>
  <dt>User</dt><dd id="user">${session.userId}</dd>
  <dt>Tags</dt><dd>${session.tags?.join(", ")}</dd>
  <dt>Metadata</dt><dd><code id="metadata">${session.metadata === undefined ? "" : JSON.stringify(session.metadata)}</code></dd>
  <dt>Logged in</dt><dd>${when(session.createdAt)}</dd>
  <dt>Ends</dt><dd>${when(session.expiresAt)}</dd>
</dl>
${devices ? list(devices, session.sessionId) : ""}
<div class="row">
  ${devices ? html`<form method="post" action="/devices/sign-out-others"><button class="plain">Sign out my other devices</button></form>` : ""}
  <form method="post" action="/logout"><button>Log out</button></form>
</div>`);
