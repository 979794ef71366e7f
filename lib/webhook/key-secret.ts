import type { SecretAnswer } from './secret.js'

const made = new WeakSet<object>()

/**
 * A secret resolver for `webhook: { secret: apiKeySecret() }`: each delivery is verified with the signing secret of
 * the API key that was proved with it, so it belongs in `auth.all(auth.apiKey(), auth.webhook())`. The plugin
 * recognises the resolver and opens the secrets; called by anybody else it finds none.
 */
export function apiKeySecret (): () => SecretAnswer {
  const resolver = (): SecretAnswer => null
  made.add(resolver)
  return resolver
}

/** Whether a secret option came from apiKeySecret(). */
export function isKeySecret (secret: unknown): boolean {
  return typeof secret === 'function' && made.has(secret)
}
