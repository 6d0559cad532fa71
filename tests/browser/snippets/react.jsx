// The documented way in React: a provider that asks once, keeps the session alive, and logs out.
import { createContext, useContext, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

const API = "https://api.example.test";
const Session = createContext();

function SessionProvider({ children }) {
  const [user, setUser] = useState(null);
  const [loading, setLoading] = useState(true);

  useEffect(() => {
    fetch(`${API}/v1/auth/session`, { credentials: "include" })
      .then((answer) => (answer.ok ? answer.json() : null))
      .then((session) => setUser(session?.user ?? null))
      .finally(() => setLoading(false));
  }, []);

  useEffect(() => {
    if (!user) return;
    const timer = setInterval(() => fetch(`${API}/v1/auth/session/ping`, { credentials: "include" }), 10 * 60 * 1000);
    return () => clearInterval(timer);
  }, [user]);

  async function logout() {
    await fetch(`${API}/v1/auth/logout`, { method: "POST", credentials: "include" });
    setUser(null);
  }
  return <Session value={{ user, loading, logout }}>{children}</Session>;
}

function Who() {
  const { user, loading, logout } = useContext(Session);
  if (loading) return <p id="who">…</p>;
  if (!user) return <p id="who">nobody</p>;
  return <p><span id="who">{user.id}</span> <button onClick={logout}>Log out</button></p>;
}

createRoot(document.body.appendChild(document.createElement("main"))).render(<SessionProvider><Who /></SessionProvider>);
