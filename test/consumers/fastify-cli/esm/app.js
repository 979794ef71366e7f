// As `fastify generate` writes it: what follows `--` on the command line is handed to every plugin.
import autoload from '@fastify/autoload'
import { join } from 'node:path'

export default async function app (fastify, opts) {
  fastify.register(autoload, { dir: join(import.meta.dirname, 'plugins'), options: Object.assign({}, opts) })
  fastify.register(autoload, { dir: join(import.meta.dirname, 'routes'), options: Object.assign({}, opts) })
}
