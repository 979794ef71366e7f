import t from 'tap'
import fc from 'fast-check'
import { createRequire } from 'node:module'
import { urlParams } from '../lib/url-params.js'

// The very router of the Fastify that is installed.
const findMyWay: () => { on (method: string, url: string, handler: () => void): void, routes: Array<{ params: string[] }> } =
  createRequire(createRequire(import.meta.url).resolve('fastify'))('find-my-way')

t.test('urlParams reads the names that the router gives to request.params', async (t) => {
  const urls: ReadonlyArray<readonly [string, string[]]> = [
    ['/', []],
    ['/tenants', []],
    ['/tenants/:tenantId', ['tenantId']],
    ['/:tenantId/x/:id', ['tenantId', 'id']],
    ['/:from-:to', ['from', 'to']],
    ['/:file.:ext', ['file', 'ext']],
    ['/at/:hour(^\\d{2})h:minute(^\\d{2})m', ['hour', 'minute']],
    ['/:id(^(?:a|b)$)/:tenantId', ['id', 'tenantId']],
    ['/:id(^[^)]$)', ['id']],
    ['/:id(^\\)a$)-:tenantId', ['id', 'tenantId']],
    ['/:id(^\\):x$)', ['id']],
    ['/:id(^\\($)/:tenantId', ['id', 'tenantId']],
    ['/:id(^(?:a|b):x$)', ['id']],
    ['/orders/:tenantId?', ['tenantId']],
    ['/orders/:tenantId?/', ['tenantId']],
    ['/name::verb', []],
    ['/name:::tenantId', ['tenantId']],
    ['/:id-::tenantId', ['id']],
    // Within a name a colon ends nothing: this route has no tenantId, and to bind it would refuse everybody.
    ['/:tenantId::verb', ['tenantId::verb']],
    ['/:a:tenantId', ['a:tenantId']],
    ['/files/*', ['*']],
    ['*', ['*']],
    ['/:id.*', ['id']],
    ['/:under_score/:ünïcode', ['under_score', 'ünïcode']]
  ]
  for (const [url, names] of urls) t.strictSame(urlParams(url), names, url)
})

t.test('urlParams agrees with the router on any URL that the router takes', async (t) => {
  const part = fc.constantFrom('/', '/', ':a', ':tenantId', ':b', ':', '::', '-', '.', 'x', '*', '?', '(^\\d+)', '(^(?:x|y))', '(^[:*])', '@')
  let compared = 0
  fc.assert(fc.property(fc.array(part, { minLength: 1, maxLength: 7 }), (parts) => {
    const url = `/${parts.join('')}`
    const found = routerParams(url)
    if (found === null) return
    compared++
    t.strictSame([...new Set(urlParams(url))], found, url)
  }), { seed: 20, numRuns: 1000 })
  t.ok(compared > 100, `${compared} URLs were compared`)

  /** The parameters as the router itself has read them; null where it refuses the URL. */
  function routerParams (url: string): string[] | null {
    const router = findMyWay()
    try {
      router.on('POST', url, () => {})
      // The way with an optional parameter in it comes before the one without.
      return [...new Set(router.routes[0]!.params)]
    } catch {
      return null
    }
  }
})
