// The documented way in Vue: a composable that asks once, keeps the session alive, and logs out.
import { createApp, h, onMounted, onUnmounted, ref } from "vue";

const API = "https://api.example.test";

function useSession() {
  const user = ref(null);
  const loading = ref(true);
  let timer;

  onMounted(async () => {
    const answer = await fetch(`${API}/v1/auth/session`, { credentials: "include" });
    if (answer.ok) user.value = (await answer.json()).user;
    loading.value = false;
    timer = setInterval(() => fetch(`${API}/v1/auth/session/ping`, { credentials: "include" }), 10 * 60 * 1000);
  });
  onUnmounted(() => clearInterval(timer));

  async function logout() {
    await fetch(`${API}/v1/auth/logout`, { method: "POST", credentials: "include" });
    user.value = null;
  }
  return { user, loading, logout };
}

const Who = {
  setup() {
    const { user, loading, logout } = useSession();
    return () => {
      if (loading.value) return h("p", { id: "who" }, "…");
      if (!user.value) return h("p", { id: "who" }, "nobody");
      return h("p", [h("span", { id: "who" }, user.value.id), h("button", { onClick: logout }, "Log out")]);
    };
  },
};

createApp(Who).mount(document.body.appendChild(document.createElement("main")));
