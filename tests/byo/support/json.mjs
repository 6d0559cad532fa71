// JSON read strictly: what `JSON.parse` hides is told. A member that comes twice, and a number that is not written as a
// whole one (`1.0`, `1e3`), which readers with 64-bit integers refuse.

/** `{value, twice, broken}`: the paths of members that come twice, and of numbers with a point or an exponent. */
export function read(text) {
  const value = JSON.parse(text); // grammar; the walk below can then trust it
  const [twice, broken] = [[], []];
  let at = 0;
  const TOKEN = /\s*("(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null|[[\]{},:])/y;
  const next = () => {
    TOKEN.lastIndex = at;
    const [all, token] = TOKEN.exec(text);
    at += all.length;
    return token;
  };
  const walk = (token, path) => {
    if (token === "{") {
      const seen = new Set();
      for (let name = next(); name !== "}"; name = next()) {
        if (name === ",") name = next();
        const own = JSON.parse(name);
        if (seen.has(own)) twice.push(`${path}/${own}`);
        seen.add(own);
        next(); // the colon
        walk(next(), `${path}/${own}`);
      }
    } else if (token === "[") {
      let place = 0;
      for (let one = next(); one !== "]"; one = next()) {
        if (one === ",") one = next();
        walk(one, `${path}/${place++}`);
      }
    } else if (/^-?\d.*[.eE]/.test(token)) broken.push(path);
  };
  walk(next(), "");
  return { value, twice, broken };
}
