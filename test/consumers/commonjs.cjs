const Fastify = require('fastify')
const causeflowAuth = require('fastify-causeflow-auth')

async function start () {
  const names = await import('fastify-causeflow-auth')
  const app = Fastify()
  await app.register(causeflowAuth)
  await app.ready()
  console.log(JSON.stringify({
    decorated: app.hasDecorator('causeflowAuth'),
    isPlugin: causeflowAuth === names.default && typeof causeflowAuth === 'function',
    names: Object.keys(causeflowAuth),
    different: Object.keys(names).filter((name) => name !== 'module.exports' && names[name] !== causeflowAuth[name])
  }))
  await app.close()
}

start()
