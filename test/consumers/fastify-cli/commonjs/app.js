// As `fastify generate` writes it: what follows `--` on the command line is handed to every plugin.
const autoload = require('@fastify/autoload')
const { join } = require('node:path')

module.exports = async function app (fastify, opts) {
  fastify.register(autoload, { dir: join(__dirname, 'plugins'), options: Object.assign({}, opts) })
  fastify.register(autoload, { dir: join(__dirname, 'routes'), options: Object.assign({}, opts) })
}
