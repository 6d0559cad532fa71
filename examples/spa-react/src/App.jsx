// The page: a login form, or whose session it is with notes, devices and logout.
import { useEffect, useState } from "react";
import * as handstamp from "./handstamp.js";
import { useSession } from "./useSession.js";

export default function App() {
  const { session, failed, check, changed } = useSession();
  if (failed) return <p className="notice">No answer. You are not logged out. <button onClick={check}>Try again</button></p>;
  if (session === undefined) return <p>One moment…</p>;
  return session ? <Account session={session} changed={changed} /> : <Login changed={changed} />;
}

function Login({ changed }) {
  const [error, setError] = useState("");
  async function submit(event) {
    event.preventDefault();
    const body = JSON.stringify(Object.fromEntries(new FormData(event.target)));
    const answer = await fetch("/api/login", { method: "POST", headers: { "content-type": "application/json" }, body });
    if (answer.ok) changed();
    else setError((await answer.json()).error);
  }
  return (
    <form onSubmit={submit}>
      <h1>Log in</h1>
      {error && <p className="notice">{error}</p>}
      <label>Name <input name="username" autoComplete="username" /></label>
      <label>Password <input name="password" type="password" autoComplete="current-password" /></label>
      <button>Log in</button>
    </form>
  );
}

function Account({ session, changed }) {
  const [notes, setNotes] = useState([]);
  const [devices, setDevices] = useState([]);
  const [stale, setStale] = useState(false);
  /** Does it, then shows what is true now; a refusal means that the session is not what this page thinks. */
  async function run(work) {
    try {
      await work();
      setDevices(await handstamp.devices());
    } catch (error) {
      if (error.code === "reauthentication_required") setStale(true);
      else changed();
    }
  }

  useEffect(() => {
    run(async () => {
      const answer = await fetch("/api/notes");
      if (!answer.ok) throw new Error("no notes");
      setNotes(await answer.json());
    });
  }, [session.session.id]);

  return (
    <>
      <h1>Hello, <span id="user">{session.user.data.name}</span></h1>
      <button id="logout" onClick={() => handstamp.logout().then(changed, changed)}>Log out</button>
      <h2>Notes</h2>
      <ul id="notes">{notes.map((note) => <li key={note}>{note}</li>)}</ul>
      <h2>Devices</h2>
      {stale && <p className="notice">Your login is too long ago for this: log out, and in again.</p>}
      <ul id="devices">
        {devices.map((device) => (
          <li key={device.id} data-id={device.id}>
            {device.client?.display_name ?? "Unknown device"}, since {new Date(device.created_at).toLocaleString()}
            {device.current ? <em>this one</em> : <button onClick={() => run(() => handstamp.end(device.id))}>Log out</button>}
          </li>
        ))}
      </ul>
      {devices.length > 1 && <button id="others" onClick={() => run(handstamp.endOthers)}>Log out everywhere else</button>}
    </>
  );
}
