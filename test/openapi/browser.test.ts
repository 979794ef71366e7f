// The demo's Swagger UI in a browser: what is authorised there opens what the document says it opens.
import t from 'tap'
import { existsSync } from 'node:fs'
import { chromium, type BrowserContext, type Page } from 'playwright-core'
import { createWorld } from '../../docs/examples/demo/world.js'

t.setTimeout(170_000)

const candidates = [process.env.CHROME_PATH, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/usr/bin/google-chrome-stable', '/opt/google/chrome/chrome', '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome']
const executablePath = candidates.find((path): path is string => path !== undefined && existsSync(path))

if (executablePath === undefined) {
  // .ci/run sets it where it has a browser installed.
  if (process.env.REQUIRE_BROWSER !== undefined) t.fail('No Chromium or Chrome is installed, and this run requires one')
  else t.test('Swagger UI in a browser', { skip: 'No Chromium or Chrome is installed; CHROME_PATH names one that stands elsewhere' }, async () => {})
} else {
  const profile = t.testdir({})
  const context: BrowserContext = await chromium.launchPersistentContext(profile, {
    executablePath,
    headless: true,
    timeout: 60_000,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']
  })
  const world = await createWorld(0)
  t.teardown(async () => {
    await context.close()
    await world.close()
  })
  const sent: Array<{ url: string, headers: Record<string, string>, body: string | null }> = []
  context.on('request', (request) => sent.push({ url: request.url(), headers: request.headers(), body: request.postData() }))

  t.test('a token, a key and a signature open their operations, and nothing opens none of them', { timeout: 150_000 }, async (t) => {
    const page = await context.newPage()
    page.setDefaultTimeout(30_000)
    const faults: string[] = []
    page.on('pageerror', (error) => faults.push(String(error)))
    await page.goto(`${world.origin}/docs/`)
    await page.waitForSelector('.opblock')

    const me = { method: 'get', path: '/v1/me' }
    const incidents = { method: 'get', path: '/v1/tenants/{tenantId}/incidents', params: { tenantId: world.tenant } }
    const event = (): Call => ({ method: 'post', path: '/v1/events', body: JSON.stringify({ event: 'incident.created', timestamp: new Date().toISOString(), tenantId: world.tenant, data: { text: 'naïve – ☃' } }) })

    t.equal(await execute(page, me), '401', 'a token\'s operation without one')
    t.equal(await execute(page, incidents), '401', 'a key\'s operation without one')
    t.equal(await execute(page, event()), '401', 'a signature\'s operation without one')

    await authorize(page, { bearer: world.tokens.member })
    t.equal(await execute(page, me), '200', 'with a token')
    await logout(page, 'bearer')
    t.equal(await execute(page, me), '401', 'after the token was taken away')

    await authorize(page, { apiKey: world.keys.ingest.plaintextKey })
    t.equal(await execute(page, incidents), '200', 'with a key')

    await authorize(page, { signature_events: world.eventSecret })
    t.equal(await execute(page, event()), '202', 'with a signature that the browser has made')

    await authorize(page, { signature: String(world.keys.ingest.webhookSecret) })
    t.equal(await execute(page, { method: 'post', path: '/v1/webhooks/{tenantId}/{provider}', params: { tenantId: world.tenant, provider: 'datadog' }, body: '{"alert":"☃"}' }), '201', 'with a key and a signature')

    const secrets = [world.eventSecret, String(world.keys.ingest.webhookSecret)]
    t.strictSame(sent.filter((request) => secrets.some((secret) => JSON.stringify(request).includes(secret))), [], 'no secret leaves the page')
    t.strictSame([...new Set(sent.map(({ url }) => new URL(url).origin))].filter((origin) => origin !== world.origin && origin !== 'null'), [], 'nothing is asked of anybody else')
    t.strictSame(faults, [])
    if (process.env.SCREENSHOT !== undefined) await page.screenshot({ path: process.env.SCREENSHOT, fullPage: true })
  })
}

interface Call { method: string, path: string, params?: Record<string, string>, body?: string }

/** Sends an operation as a reader of the page would, and reads the status that the page shows. */
async function execute (page: Page, { method, path, params = {}, body }: Call): Promise<string> {
  const block = page.locator(`.opblock-${method}`).filter({ has: page.locator(`.opblock-summary-path[data-path="${path}"]`) })
  if (await block.locator('.opblock-body').count() === 0) await block.locator('.opblock-summary-control').click()
  for (const [name, value] of Object.entries(params)) await block.locator(`tr[data-param-name="${name}"] input`).fill(value)
  if (body !== undefined) await block.locator('textarea.body-param__text').fill(body)
  const answered = page.waitForResponse((response) => response.request().method() === method.toUpperCase() && !response.url().includes('/docs/'))
  await block.locator('.execute').click()
  const status = String((await answered).status())
  await block.locator('.live-responses-table .response-col_status').filter({ hasText: status }).first().waitFor()
  return status
}

async function authorize (page: Page, credentials: Record<string, string>): Promise<void> {
  await page.locator('.auth-wrapper .authorize').first().click()
  for (const [scheme, value] of Object.entries(credentials)) {
    const form = formOf(page, scheme)
    await form.locator('input').fill(value)
    await form.locator('button.authorize').click()
  }
  await page.locator('.modal-ux .btn-done').first().click()
}

async function logout (page: Page, scheme: string): Promise<void> {
  await page.locator('.auth-wrapper .authorize').first().click()
  await formOf(page, scheme).locator('button', { hasText: 'Logout' }).click()
  await page.locator('.modal-ux .btn-done').first().click()
}

function formOf (page: Page, scheme: string): ReturnType<Page['locator']> {
  return page.locator('.modal-ux .auth-container').filter({ has: page.locator('h4 code', { hasText: new RegExp(`^${scheme}$`) }) })
}
