import autoload from '@fastify/autoload'
import Fastify from 'fastify'

const app = Fastify()
await app.register(autoload, { dir: import.meta.dirname + '/plugins' })
await app.ready()
console.log(JSON.stringify({ decorated: app.hasDecorator('causeflowAuth'), route: app.hasRoute({ method: 'GET', url: '/later' }) }))
await app.close()
