export { default } from 'fastify-causeflow-auth'
