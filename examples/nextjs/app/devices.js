"use client";
// Devices and logout: the browser itself asks Handstamp, with its cookie. The token for calls that change something
// came with the page.
import { useCallback, useEffect, useState } from "react";

const PING_MS = 10 * 60 * 1000;

export default function Devices({ api, csrf }) {
  const [devices, setDevices] = useState([]);
  const [notice, setNotice] = useState("");

  const call = useCallback(
    async (method, path) => {
      const headers = method === "GET" ? {} : { "X-XSRF-TOKEN": csrf };
      const answer = await fetch(`${api}/v1/auth${path}`, { method, headers, credentials: "include" });
      if (answer.ok) return answer;
      const { code } = await answer.json().catch(() => ({}));
      if (code === "reauthentication_required") throw new Error("Your login is too long ago for this: log out, and in again.");
      if (answer.status === 401) location.assign("/login");
      if (code === "csrf_token_invalid") location.reload(); // the page comes with a fresh one
      throw new Error("That did not work. Please try again.");
    },
    [api, csrf],
  );
  const show = useCallback(async () => setDevices((await (await call("GET", "/sessions")).json()).items), [call]);
  const failed = (error) => setNotice(error.message);
  const run = (method, path) => call(method, path).then(show).catch(failed);
  const logout = () => call("POST", "/logout").then(() => location.assign("/login"), failed);

  useEffect(() => {
    // Once now: the page's server cannot put a new token into the browser, so a rotation that is due happens here.
    const ping = () => call("GET", "/session/ping").catch(() => {});
    ping().then(show).catch(failed);
    const timer = setInterval(ping, PING_MS);
    const restored = (event) => event.persisted && location.reload(); // "back", out of the browser's memory
    addEventListener("pageshow", restored);
    return () => {
      clearInterval(timer);
      removeEventListener("pageshow", restored);
    };
  }, [call, show]);

  return (
    <>
      <h2>Devices</h2>
      {notice && <p className="notice">{notice}</p>}
      <ul id="devices">
        {devices.map((device) => (
          <li key={device.id} data-id={device.id}>
            {device.client?.display_name ?? "Unknown device"}, since {new Date(device.created_at).toLocaleString()}
            {device.current ? <em>this one</em> : <button onClick={() => run("DELETE", `/sessions/${device.id}`)}>Log out</button>}
          </li>
        ))}
      </ul>
      {devices.length > 1 && <button id="others" onClick={() => run("POST", "/sessions/revoke-others")}>Log out everywhere else</button>}
      <button id="logout" onClick={logout}>Log out</button>
    </>
  );
}
