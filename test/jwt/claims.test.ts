import { Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import t from 'tap'
import { AuthError } from '../../lib/errors.js'
import { causeflowClaims, CauseflowClaimsSchema, compileMapping } from '../../lib/jwt/claims.js'
import type { ClaimMapping } from '../../lib/jwt/claims.js'
import { claims, outcome } from './fixture.js'
import type { Json } from './fixture.js'

const read = (mapping: ClaimMapping, members: Json = {}): Promise<unknown> => outcome(() => compileMapping(mapping)(JSON.parse(JSON.stringify(claims(members)))))
const refused = 'AUTH_TOKEN_CLAIMS claims'

t.test('CauseFlow\'s claims become tenant, roles and e-mail, and no scopes', async (t) => {
  t.strictSame(await read(causeflowClaims()), { tenantId: 'ten_1', roles: ['admin'], scopes: [], email: 'user@example.com' })
  t.strictSame(await read(causeflowClaims(), { tenant_id: undefined, roles: undefined, email: undefined }), { tenantId: null, roles: [], scopes: [], email: null })
})

t.test('a claim of CauseFlow\'s with a wrong type refuses the token', async (t) => {
  for (const value of [null, 7, true, [], {}]) t.equal(await read(causeflowClaims(), { tenant_id: value }), refused)
  for (const value of [null, 7, true, [], {}]) t.equal(await read(causeflowClaims(), { email: value }), refused)
  for (const value of [null, 7, true, 'admin', {}, [7], ['admin', null]]) t.equal(await read(causeflowClaims(), { roles: value }), refused)
  t.equal(await read(causeflowClaims(), { tenant_id: '' }), refused)
})

t.test('the schema of CauseFlow\'s claims refuses names that are empty, for whoever uses it in a schema of his own', async (t) => {
  t.ok(Value.Check(CauseflowClaimsSchema, claims()))
  for (const name of ['sub', 'iss', 'tenant_id']) t.notOk(Value.Check(CauseflowClaimsSchema, claims({ [name]: '' })), name)
})

t.test('a machine token is no token of a user, whatever claims it brings', async (t) => {
  t.equal(await read(causeflowClaims(), { sub: 'mch_2EXAMPLE' }), 'AUTH_TOKEN_CLAIMS token-class')
})

t.test('a mapping of one\'s own reads its own claims, typed by its schema', async (t) => {
  const schema = Type.Object({ org: Type.String(), groups: Type.Array(Type.String()) })
  const mapping: ClaimMapping<typeof schema> = { schema, principal: ({ org, groups }) => ({ tenantId: org, roles: groups, scopes: [], email: null }) }
  t.strictSame(await read(mapping, { org: 'acme', groups: ['ops'] }), { tenantId: 'acme', roles: ['ops'], scopes: [], email: null })
  t.equal(await read(mapping, { org: 'acme' }), refused)
})

t.test('a mapping that throws, or answers no principal, refuses the token', async (t) => {
  const answering = (answer: unknown): ClaimMapping => ({ schema: Type.Object({}), principal: () => answer as never })
  const good = { tenantId: null, roles: [], scopes: [], email: null }
  t.strictSame(await read(answering(good)), good)
  for (const answer of [undefined, null, 7, 'x', [], {}, Promise.resolve(good), { ...good, tenantId: undefined }, { ...good, tenantId: '' }, { ...good, tenantId: 7 },
    { ...good, roles: 'admin' }, { ...good, roles: [7] }, { ...good, roles: new Set(['admin']) }, { ...good, scopes: undefined }, { ...good, email: 7 }]) t.equal(await read(answering(answer)), refused)
  for (const thrown of [new Error('x'), undefined, null, 'x', 7]) {
    t.equal(await read({ schema: Type.Object({}), principal: () => { throw thrown } }), refused)
  }
  t.equal(await read({ schema: Type.Object({}), principal: () => { throw new AuthError('AUTH_TOKEN_CLAIMS', 'actor') } }), 'AUTH_TOKEN_CLAIMS actor')
})

t.test('what a mapping has thrown is the cause, for logs, and what it has not returned the detail', async (t) => {
  const fault = new Error('x')
  t.throws(() => compileMapping({ schema: Type.Object({}), principal: () => { throw fault } })({}), { code: 'AUTH_TOKEN_CLAIMS', cause: fault })
  t.throws(() => compileMapping({ schema: Type.Object({}), principal: () => undefined as never })({}), { code: 'AUTH_TOKEN_CLAIMS', detail: /returned no object/ })
})

t.test('a schema that its checker cannot read does not start, and the message names the package', async (t) => {
  const principal = (): never => { throw new Error('not reached') }
  // As typebox 1 makes it, and as a JSON schema is written by hand.
  const typebox1 = Object.defineProperty({ type: 'object', required: [], properties: {} }, '~kind', { value: 'Object' })
  for (const schema of [typebox1, { type: 'object' }] as never[]) t.throws(() => compileMapping({ schema, principal }), { code: 'AUTH_CONFIG_OPTION', message: /none of @sinclair\/typebox 0\.34/ })
})

t.test('a schema with a format, which would refuse every token, does not start', async (t) => {
  const principal = (): never => { throw new Error('not reached') }
  t.throws(() => compileMapping({ schema: Type.Object({ a: Type.Optional(Type.Array(Type.String({ format: 'email' }))) }), principal }), { code: 'AUTH_CONFIG_OPTION' })
  t.doesNotThrow(() => compileMapping({ schema: Type.Object({ format: Type.String() }), principal }))
  t.doesNotThrow(() => compileMapping({ schema: Type.Object({ a: Type.Number({ format: 'float' }) }), principal }), 'of a number it checks nothing')
  t.doesNotThrow(() => compileMapping({ schema: Type.Object({ a: Type.Optional(Type.String({ default: null })) }), principal }))
})

t.test('a mapping is synchronous: what an asynchronous one answers is no principal, and its rejection ends nothing', async (t) => {
  const unhandled: unknown[] = []
  const listener = (reason: unknown): void => { unhandled.push(reason) }
  process.on('unhandledRejection', listener)
  t.teardown(() => { process.off('unhandledRejection', listener) })
  for (const principal of [async () => ({ tenantId: null, roles: [], scopes: [], email: null }), async () => { throw new Error('no principal') }]) {
    t.equal(await read({ schema: Type.Object({}), principal: principal as never }), refused)
  }
  await new Promise((resolve) => setTimeout(resolve, 10))
  t.strictSame(unhandled, [])
})

t.test('tenant, roles, scopes and e-mail are Unicode, or the token is refused', async (t) => {
  const good = { tenantId: 'ten_1', roles: ['admin'], scopes: ['a:b'], email: 'user@example.com' }
  const mapping = (members: Json): ClaimMapping => ({ schema: Type.Object({}), principal: () => ({ ...good, ...members }) as never })
  t.strictSame(await read(mapping({ tenantId: 'тен\u{1f600}' })), { ...good, tenantId: 'тен\u{1f600}' })
  for (const members of [{ tenantId: 'ten_\ud800' }, { roles: ['admin', '\udc00'] }, { scopes: ['\ud800:read'] }, { email: '\udfff@example.com' }]) {
    t.equal(await read(mapping(members)), refused, JSON.stringify(members))
  }
})
