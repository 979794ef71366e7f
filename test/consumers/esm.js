import Fastify from 'fastify'
import causeflowAuth, * as names from 'fastify-causeflow-auth'

const app = Fastify()
await app.register(causeflowAuth)
await app.ready()
console.log(JSON.stringify({ decorated: app.hasDecorator('causeflowAuth'), names: Object.keys(names) }))
await app.close()
