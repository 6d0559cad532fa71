// Whose session it is, for the whole page: asked at the start, and again whenever the answer may have changed.
import { onMounted, onUnmounted, ref, shallowRef } from "vue";
import * as handstamp from "./handstamp.js";

const PING_MS = 10 * 60 * 1000;

/** `session` is undefined until the first answer, then null or the session; `failed` when there was no answer. */
export function useSession() {
  const session = shallowRef();
  const failed = ref(false);
  const tabs = new BroadcastChannel("session"); // tells the other tabs of a login or a logout at once

  async function check() {
    try {
      session.value = await handstamp.session();
      failed.value = false;
    } catch {
      failed.value = true; // an accident is no logout, and the page says so
    }
  }
  const changed = () => (tabs.postMessage("changed"), check());
  const restored = (event) => event.persisted && check(); // "back", out of the browser's memory
  const ping = () => session.value && handstamp.ping().catch(check); // while the page is open, the session lives

  let timer;
  onMounted(() => {
    check();
    tabs.addEventListener("message", check);
    addEventListener("focus", check);
    addEventListener("pageshow", restored);
    timer = setInterval(ping, PING_MS);
  });
  onUnmounted(() => {
    tabs.close();
    removeEventListener("focus", check);
    removeEventListener("pageshow", restored);
    clearInterval(timer);
  });
  return { session, failed, check, changed };
}
