// Whose session it is, for the whole page: asked at the start, and again whenever the answer may have changed.
import { useCallback, useEffect, useState } from "react";
import * as handstamp from "./handstamp.js";

const PING_MS = 10 * 60 * 1000;
const tabs = new BroadcastChannel("session"); // tells the other tabs of a login or a logout at once

/** `session` is undefined until the first answer, then null or the session; `failed` when there was no answer. */
export function useSession() {
  const [session, setSession] = useState();
  const [failed, setFailed] = useState(false);

  const check = useCallback(async () => {
    try {
      setSession(await handstamp.session());
      setFailed(false);
    } catch {
      setFailed(true); // an accident is no logout, and the page says so
    }
  }, []);

  const changed = useCallback(() => (tabs.postMessage("changed"), check()), [check]);

  useEffect(() => {
    check();
    const restored = (event) => event.persisted && check(); // "back", out of the browser's memory
    tabs.addEventListener("message", check);
    addEventListener("focus", check);
    addEventListener("pageshow", restored);
    return () => {
      tabs.removeEventListener("message", check);
      removeEventListener("focus", check);
      removeEventListener("pageshow", restored);
    };
  }, [check]);

  useEffect(() => {
    if (!session) return;
    const timer = setInterval(() => handstamp.ping().catch(check), PING_MS); // while the page is open, the session lives
    return () => clearInterval(timer);
  }, [Boolean(session), check]);

  return { session, failed, check, changed };
}
