import autoload from '@fastify/autoload'
import { join } from 'node:path'

export default async function app (fastify, _options) {
  await fastify.register(autoload, { dir: join(import.meta.dirname, 'plugins') })
  await fastify.register(autoload, { dir: join(import.meta.dirname, 'routes') })
}
