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

/** What a refusal means for the person in front of the browser; the code is for whoever helps them. */
export function refused({ code, status }) {
  if (code === "token_superseded")
    return message("This page is a little behind", `Your browser has a newer session by now: go back and reload. (${code})`);
  if (status !== 401)
    return message("Not from here", `You are still logged in, but this request is not allowed: ${code}`);
  if (code === "token_missing") return login(`You are not logged in: ${code}`);
  return login(`Your session ended: ${code}`);
}

const when = (time) => html`<time datetime="${time}">${time?.replace("T", " ").replace(/\.\d+Z$/, " UTC")}</time>`;

const device = (session, own) => html`<li>
  <span>
    <strong>${session.client?.display_name ?? session.client?.user_agent ?? "Unknown device"}</strong>
    <small>${session.client?.ip}, active ${when(session.last_active_at)}</small>
  </span>
  ${own
    ? html`<em>this device</em>`
    : html`<form method="post" action="/devices/sign-out">
    <input type="hidden" name="id" value="${session.id}">
    <button class="plain">Sign out</button>
  </form>`}
</li>`;

export const account = (session, devices, ended) =>
  layout("Your account", html`<h1>Hello, ${session.data?.name}</h1>
${/^\d+$/.test(ended) ? html`<p class="notice" role="status">Signed out elsewhere: ${ended}</p>` : ""}
<dl>
  <dt>User</dt><dd id="user">${session.user_id}</dd>
  <dt>Tags</dt><dd>${session.tags?.join(", ")}</dd>
  <dt>Data</dt><dd><code id="data">${JSON.stringify(session.data)}</code></dd>
  <dt>Logged in</dt><dd>${when(session.created_at)}</dd>
  <dt>Ends</dt><dd>${when(session.expires_at)}</dd>
</dl>
<h2>Your devices</h2>
<ul>${devices.map((each) => device(each, each.id === session.id))}</ul>
<div class="row">
  <form method="post" action="/devices/sign-out-others"><button class="plain">Sign out my other devices</button></form>
  <form method="post" action="/logout"><button>Log out</button></form>
</div>`);
