export default async function Login({ searchParams }) {
  const { wrong } = await searchParams;
  return (
    <form method="post" action="/api/login">
      <h1>Log in</h1>
      {wrong !== undefined && <p className="notice">Wrong name or password.</p>}
      <label>Name <input name="username" autoComplete="username" /></label>
      <label>Password <input name="password" type="password" autoComplete="current-password" /></label>
      <button>Log in</button>
    </form>
  );
}
