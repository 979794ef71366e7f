import fastifyJwt from '@fastify/jwt'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { registerSignatureCheck } from '../lib/fastify-jwt.js'
import type { SignatureCheck } from '../lib/jwt/verify.js'
import { claims, header, mint, pemOf, rsa } from './jwt/fixture.js'
import { watchProcess } from './fixtures/process-watch.js'

watchProcess(t)

const [pair, other] = [rsa(), rsa()]
const good = mint(header(), claims(), pair.privateKey)

/** An application with our checks in the root and in a nested scope, and its own @fastify/jwt wherever `own` puts it. */
async function application (own: 'before' | 'after' | 'nested' | 'none'): Promise<{ app: FastifyInstance, checks: SignatureCheck[] }> {
  const app = Fastify()
  const checks: SignatureCheck[] = []
  const register = async (scope: FastifyInstance): Promise<void> => { await scope.register(fastifyJwt, { secret: 'the application\'s own' }) }
  const routes = (scope: FastifyInstance): void => {
    scope.get('/sign', async (_, reply) => ({ token: await reply.jwtSign({ sub: 'own' }) }))
    scope.get('/verify', async (request) => await request.jwtVerify())
  }
  await app.register(async (scope) => {
    if (own === 'before') await register(scope)
    const plugin = Object.assign(async (instance: FastifyInstance) => { checks.push(await registerSignatureCheck(instance, ['RS256'])) }, { [Symbol.for('skip-override')]: true })
    await scope.register(plugin)
    if (own === 'after') await register(scope)
    if (own === 'before' || own === 'after') routes(scope)
    await scope.register(async (nested) => {
      await nested.register(plugin)
      if (own !== 'nested') return
      await register(nested)
      routes(nested)
    })
    await scope.register(async (sibling) => { checks.push(await registerSignatureCheck(sibling, ['RS256', 'RS512'])) })
  })
  await app.ready()
  return { app, checks }
}

for (const own of ['before', 'after', 'nested', 'none'] as const) {
  t.test(`the check verifies, and the application's own @fastify/jwt works, where it is registered: ${own}`, async (t) => {
    const { app, checks } = await application(own)
    t.equal(checks.length, 3)
    for (const check of checks) {
      t.equal(check(good, pemOf(pair)), true)
      t.equal(check(good, pemOf(other)), false)
      t.equal(check(mint(header({ alg: 'RS384' }), claims(), pair.privateKey, 'RS384'), pemOf(pair)), false, 'an algorithm that is not listed')
    }
    if (own === 'none') {
      t.notOk(app.hasRequestDecorator('user'))
      t.notOk(app.hasRequestDecorator('jwtVerify'))
      t.notOk(app.hasDecorator('jwt'))
    } else {
      const { token } = (await app.inject('/sign')).json()
      t.match((await app.inject({ url: '/verify', headers: { authorization: `Bearer ${token}` } })).json(), { sub: 'own' })
      t.not((await app.inject({ url: '/verify', headers: { authorization: `Bearer ${good}` } })).statusCode, 200)
    }
    await app.close()
  })
}

t.test('the check answers at once and throws nothing, whatever it is given', async (t) => {
  const check = await registerSignatureCheck(Fastify(), ['RS256'])
  for (const token of ['', 'x', '..', 'a.b.c', good.slice(0, -5), `${good}.`, mint(header({ alg: 'none' }), claims(), pair.privateKey)]) t.equal(check(token, pemOf(pair)), false, token)
  for (const key of ['x', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----', pemOf(pair).slice(0, 200), '']) t.equal(check(good, key), false, key)
  t.equal(check(good, pemOf(pair)), true)
})

t.test('times and claims are not looked at', async (t) => {
  const check = await registerSignatureCheck(Fastify(), ['RS256'])
  for (const members of [{ exp: 1 }, { nbf: 9e9 }, { iat: 9e9 }, { exp: undefined, iss: undefined }]) t.equal(check(mint(header(), claims(members), pair.privateKey), pemOf(pair)), true)
})

t.test('a token that verified once is not remembered for another key', async (t) => {
  const check = await registerSignatureCheck(Fastify(), ['RS256'])
  t.strictSame([pair, other, pair].map((one) => check(good, pemOf(one))), [true, false, true])
})

t.test('more keys than are kept at once are verified all the same', async (t) => {
  const check = await registerSignatureCheck(Fastify(), ['HS256'])
  for (let index = 0; index < 200; index++) {
    const secret = `a secret of more than 32 bytes, number ${index}`
    const token = mint({ alg: 'HS256' }, claims(), secret)
    t.strictSame([check(token, secret), check(token, `${secret}!`)], [true, false])
  }
})
