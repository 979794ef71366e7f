// The commands of docs/webhooks.md for other languages, run as they stand there against a route of the plugin.
import t from 'tap'
import { execFile, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { auth } from '../../lib/index.js'
import { createApp, webhookSecret } from '../fixtures/app.js'
import { listen } from '../fixtures/socket.js'
import { watchProcess } from '../fixtures/process-watch.js'

watchProcess(t)

const page = readFileSync(new URL('../../docs/webhooks.md', import.meta.url), 'utf8')
const blockOf = (language: string): string => new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(page)?.[1] ?? ''
const absent = (command: string, argument: string): string | false => spawnSync(command, [argument]).status === 0 ? false : `${command} is not installed: this check did not run`

for (const [language, run, missing] of [
  ['sh', ['sh', '-c'], absent('openssl', 'version') || absent('curl', '--version')],
  ['python', ['python3', '-c'], absent('python3', '--version')]
] as const) {
  t.test(`a delivery signed by the ${language} of the documentation is let in, and with another secret it is not`, { skip: missing }, async (t) => {
    const app = await createApp(t)
    const received: unknown[] = []
    app.post('/hook', { config: { auth: auth.webhook() } }, async (request) => { received.push(request.body) })
    const port = await listen(app)
    const body = '{"text":"é€😀 100 % $HOME \\\\ \'q\'"}'
    const send = async (SECRET: string): Promise<unknown> => await promisify(execFile)(run[0], [run[1], blockOf(language)], { env: { ...process.env, URL: `http://127.0.0.1:${port}/hook`, BODY: body, SECRET, no_proxy: '*' } }).catch(() => null)
    t.not(blockOf(language), '')
    await send(webhookSecret)
    await send('another')
    t.strictSame(received, [JSON.parse(body)])
  })
}
