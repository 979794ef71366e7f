/** Lends @fastify/jwt's verification to the token room, apart from any copy that the application uses itself. */
import fastifyJwt from '@fastify/jwt'
import type { FastifyInstance } from 'fastify'
import type { Algorithm } from './jwt/algorithm.js'
import type { SignatureCheck } from './jwt/verify.js'

/**
 * Registers @fastify/jwt in a child scope of its own and resolves to its signature check for these algorithms. It decorates
 * nothing: the application's own @fastify/jwt is not met, whether it comes before or after, here or in a nested scope.
 * Neither times nor claims are checked.
 *
 * @fastify/jwt keeps a verifier for each PEM for ever (about 2 kB), and a rotation brings one or two. After `maxVerifiers` PEMs
 * the check is built anew in the same scope, so an issuer that rotates all the time costs no more memory than that.
 */
export async function registerSignatureCheck (fastify: FastifyInstance, algorithms: readonly Algorithm[]): Promise<SignatureCheck> {
  let check: SignatureCheck | undefined
  await fastify.register(async (child) => { check = createCheck(child, algorithms) })
  if (check === undefined) throw new Error('@fastify/jwt could not be registered')
  return check
}

const maxVerifiers = 64

/** What @fastify/jwt's requestVerify needs of a request, with what our options take from it. */
interface Candidate { readonly token: string, readonly key: string, readonly headers: object }
type RequestVerify = (this: Candidate, options: undefined, callback: (error: Error | null) => void) => void

function createCheck (scope: FastifyInstance, algorithms: readonly Algorithm[]): SignatureCheck {
  let requestVerify = build(scope, algorithms)
  let pems = new Set<string>()
  return function check (token, key, callback) {
    if (!pems.has(key)) {
      if (pems.size === maxVerifiers) {
        requestVerify = build(scope, algorithms)
        pems = new Set()
      }
      pems.add(key)
    }
    // Options given here, or the callback in their place, would build a verifier at every call: 160 µs instead of 36.
    requestVerify.call({ token, key, headers: {} }, undefined, callback)
  }
}

function build (scope: FastifyInstance, algorithms: readonly Algorithm[]): RequestVerify {
  let verify: RequestVerify | undefined
  // The plugin decorates this object and not the scope. Its own decorators would clash with the application's, and end the
  // process where the application's come after ours.
  const host: FastifyInstance = Object.create(scope)
  host.decorate = host.decorateReply = (() => host) as never
  host.decorateRequest = ((name: string, value: unknown) => {
    if (name === 'jwtVerify') verify = value as RequestVerify
    return host
  }) as never
  const options = {
    secret: (candidate: Candidate, _token: unknown, done: (error: null, key: string) => void) => { done(null, candidate.key) },
    verify: {
      algorithms: [...algorithms],
      extractToken: (candidate: Candidate) => candidate.token,
      // Its cache hands one payload to every request and outlives a replaced key.
      cache: false,
      // Times are ours, by the clock that was handed in.
      ignoreExpiration: true,
      ignoreNotBefore: true
    }
  }
  fastifyJwt(host, options as never, (error) => { if (error) throw error })
  if (verify === undefined) throw new Error('@fastify/jwt added no jwtVerify')
  return verify
}
