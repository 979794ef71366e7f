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
 * Each key has a verifier of its own, made when its first token comes, since one that is told its key by request decodes every
 * token twice. A rotation brings one or two keys; after `maxVerifiers` all are forgotten, so an issuer that rotates all the time costs no
 * more memory than that.
 */
export async function registerSignatureCheck (fastify: FastifyInstance, algorithms: readonly Algorithm[]): Promise<SignatureCheck> {
  let check: SignatureCheck | undefined
  await fastify.register(async (child) => { check = createCheck(child, algorithms) })
  if (check === undefined) throw new Error('@fastify/jwt could not be registered')
  return check
}

/** More than the 100 keys of a set, all of which an issuer may use by turns. Each takes about 10 kB. */
const maxVerifiers = 128

/** Answers what a token says; throws where the key does not verify it. */
type Verify = (token: string) => unknown

function createCheck (scope: FastifyInstance, algorithms: readonly Algorithm[]): SignatureCheck {
  const verifiers = new Map<string, Verify>()
  return function check (token, key) {
    try {
      let verify = verifiers.get(key)
      if (verify === undefined) {
        verify = build(scope, algorithms, key)
        if (verifiers.size === maxVerifiers) verifiers.clear()
        verifiers.set(key, verify)
      }
      const said = verify(token)
      if (!(said instanceof Promise)) return true
      // It has not been waited for, and has proved nothing.
      said.catch(() => {})
      return false
    } catch {
      return false
    }
  }
}

function build (scope: FastifyInstance, algorithms: readonly Algorithm[], key: string): Verify {
  let verify: Verify | undefined
  // The plugin decorates this object and not the scope. Its own decorators would clash with the application's, and end the
  // process where the application's come after ours.
  const host: FastifyInstance = Object.create(scope)
  host.decorateRequest = host.decorateReply = (() => host) as never
  host.decorate = ((name: string, value: { verify: Verify }) => {
    if (name === 'jwt') verify = value.verify
    return host
  }) as never
  const options = {
    secret: { public: key },
    verify: {
      algorithms: [...algorithms],
      // Its cache hands one payload to every request and outlives a replaced key.
      cache: false,
      // Times are ours, by the clock that was handed in.
      ignoreExpiration: true,
      ignoreNotBefore: true
    }
  }
  fastifyJwt(host, options as never, (error) => { if (error) throw error })
  if (verify === undefined) throw new Error('@fastify/jwt added no verify')
  return verify
}
