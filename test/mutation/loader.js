/**
 * Resolves for runner.js. A test file gets a `tap` that hands its tests over instead of running them, and where a file was
 * imported as `file?load=N`, what it imports of the sandbox is loaded anew with it: lib/ as it is while a mutant is active.
 */
let sandbox = ''
let tap = ''

export function initialize (places) {
  sandbox = places.sandbox
  tap = places.tap
}

export async function resolve (specifier, context, next) {
  const { parentURL = '' } = context
  if (specifier === 'tap' && parentURL.startsWith(sandbox + 'test/')) return { url: tap, shortCircuit: true }
  const resolved = await next(specifier, context)
  const load = /\?load=\d+$/.exec(parentURL)?.[0]
  if (load === undefined || !resolved.url.startsWith(sandbox) || resolved.url.includes('/node_modules/')) return resolved
  return { ...resolved, url: resolved.url + load }
}
