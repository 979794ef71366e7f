/** Shell commands with live credentials, ready to paste. */
import type { World } from './world.js'

export interface Command {
  readonly title: string
  /** Lines for sh; the last one is the request. */
  readonly script: string
  /** The status that it is answered with. */
  readonly status: number
}

export function commandsOf ({ origin, tenant, tokens, keys, eventSecret }: World): Command[] {
  const { plaintextKey, webhookSecret } = keys.ingest
  return [
    {
      title: 'A bearer token',
      script: `curl -i ${origin}/v1/me -H 'Authorization: Bearer ${tokens.member}'`,
      status: 200
    },
    {
      title: 'An API key',
      script: `curl -i ${origin}/v1/tenants/${tenant}/incidents -H 'X-API-Key: ${plaintextKey}'`,
      status: 200
    },
    {
      title: 'A signature, made with openssl (within 300 seconds of its timestamp)',
      script: [
        `SECRET='${eventSecret}'`,
        `BODY='{"event":"incident.created","timestamp":"'"$(date -u +%Y-%m-%dT%H:%M:%SZ)"'","tenantId":"${tenant}","data":{"incidentId":"inc_01HX9VT"}}'`,
        signature,
        post(`${origin}/v1/events`, [])
      ].join('\n'),
      status: 202
    },
    {
      title: 'Ingest: a key and a signature together (the same alert a second time is a 409)',
      script: [
        `SECRET='${String(webhookSecret)}'`,
        'BODY=\'{"alert":"Error rate above 5 %","service":"checkout"}\'',
        signature,
        post(`${origin}/v1/webhooks/${tenant}/datadog`, [`-H 'X-API-Key: ${plaintextKey}'`])
      ].join('\n'),
      status: 201
    }
  ]
}

// Older versions of openssl print `(stdin)= ` before the digits, newer ones `SHA2-256(stdin)= `.
const signature = 'SIGNATURE=$(printf %s "$BODY" | openssl dgst -sha256 -hmac "$SECRET" | sed \'s/^.*= *//\')'

function post (url: string, headers: string[]): string {
  return ['curl -i', url, ...headers, '-H "X-Webhook-Signature: sha256=$SIGNATURE"', '-H \'Content-Type: application/json\'', '--data-binary "$BODY"'].join(' ')
}
