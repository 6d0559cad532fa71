// The JavaScript side of interop.py: reads a list of requests as JSON from standard input, and answers each. How a token is
// verified and its data opened is in verify.mjs, which is what docs/verify-elsewhere.md shows.
import { readFileSync } from 'node:fs'
import { CompactEncrypt, CompactSign, createLocalJWKSet, importJWK, jwtVerify } from 'jose'
import { opened, verifier } from './verify.mjs'

const encoded = (value) => new TextEncoder().encode(JSON.stringify(value))

const verbs = {
  verify: ({ server, issuer, audience, token }) => verifier(server, issuer, audience)(token),
  // The same with the set at hand.
  verify_local: async ({ jwks, issuer, audience, token }) => {
    const { payload } = await jwtVerify(token, createLocalJWKSet(jwks), { issuer, audience, typ: 'at+jwt' })
    return payload
  },
  open: ({ data, data_keys }) => opened(data, data_keys),
  sign: async ({ key, header, claims }) =>
    new CompactSign(encoded(claims)).setProtectedHeader(header).sign(await importJWK(key, header.alg)),
  seal: async ({ key, header, value }) =>
    new CompactEncrypt(encoded(value)).setProtectedHeader(header).encrypt(await importJWK(key, 'dir')),
}

const answers = []
for (const ask of JSON.parse(readFileSync(0, 'utf8'))) {
  try {
    answers.push({ good: await verbs[ask.do](ask) })
  } catch (error) {
    answers.push({ bad: `${error.code ?? error.name}: ${error.message}` })
  }
}
process.stdout.write(JSON.stringify(answers))
