// The documented way with plain `fetch`, for a page on another host of the same site.
const API = "https://api.example.test";

export async function getSession() {
  const answer = await fetch(`${API}/v1/auth/session`, { credentials: "include" });
  if (!answer.ok) return null;
  const { user, expires_at } = await answer.json();
  return { user, expires_at };
}

export const refresh = () => fetch(`${API}/v1/auth/session/refresh`, { method: "POST", credentials: "include" });

export const keepAlive = () =>
  setInterval(() => fetch(`${API}/v1/auth/session/ping`, { credentials: "include" }), 10 * 60 * 1000);

export const logout = () => fetch(`${API}/v1/auth/logout`, { method: "POST", credentials: "include" });

function csrfToken() {
  const pair = document.cookie.split("; ").find((one) => one.startsWith("XSRF-TOKEN="));
  return pair ? decodeURIComponent(pair.split("=")[1]) : "";
}

export const getDatasets = async () => (await fetch(`${API}/v1/datasets`, { credentials: "include" })).json();

export async function createDataset(dataset) {
  const answer = await fetch(`${API}/v1/datasets`, {
    method: "POST",
    credentials: "include",
    headers: { "Content-Type": "application/json", "X-XSRF-TOKEN": csrfToken() },
    body: JSON.stringify(dataset),
  });
  if (answer.status === 403 && (await answer.clone().json()).code === "csrf_token_invalid") location.reload();
  return answer.json();
}
