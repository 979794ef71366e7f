import t from 'tap'
import { usageFailure } from '../../lib/cli/failure.js'
import { ask, invoke } from './fixture.js'

t.test('help and version are answers, and cost no failure', async (t) => {
  for (const args of [['--help'], ['-h'], ['key', '--help'], ['key', 'create', '--help'], ['token', 'inspect', '-h'], ['doctor', '--help']]) {
    const { code, out, err } = await invoke(args)
    t.strictSame([code, err], [0, ''], args.join(' '))
    t.match(out, new RegExp(`^Usage: causeflow-auth${args.filter((word) => !word.startsWith('-')).map((word) => ` ${word}`).join('')} `), args.join(' '))
  }
  t.strictSame(await invoke(['--version']), { code: 0, out: '1.2.3\n', err: '' })
})

t.test('what is no command, or one with a word too many, is a fault of usage and says where help is', async (t) => {
  for (const [args, said] of [
    [[], /^Usage: causeflow-auth /],
    [['key'], /^Usage: causeflow-auth key /],
    [['keys'], /^causeflow-auth: unknown command 'keys'\n\(Did you mean key\?\)\nRun "causeflow-auth --help"/],
    [['key', 'make'], /^causeflow-auth: unknown command 'make'\nRun "causeflow-auth key --help"/],
    [['sign', 'body.json'], /^causeflow-auth: too many arguments.*\nRun "causeflow-auth sign --help"/],
    [['doctor', '--isuer', 'x'], /^causeflow-auth: unknown option '--isuer'\n\(Did you mean --issuer\?\)\nRun "causeflow-auth doctor --help"/],
    [['key', 'rotate', '--tenant', 'x'], /missing required argument 'key-id'\nRun "causeflow-auth key rotate --help"/]
  ] as const) {
    const { code, out, err } = await invoke([...args])
    t.strictSame([code, out], [2, ''], args.join(' '))
    t.match(err, said, args.join(' '))
  }
})

t.test('with --json a failure is one line of JSON on stderr, also of usage', async (t) => {
  t.strictSame(await ask(['doctor', '--isuer', 'x']), { code: 2, answer: null, failure: { error: 'usage', message: 'unknown option \'--isuer\'\n(Did you mean --issuer?)', mend: null } })
  t.strictSame(await ask(['key', 'list', '--tenant', 'x'], { openStore: async () => { throw usageFailure('No database is named', 'Name it') } }),
    { code: 2, answer: null, failure: { error: 'usage', message: 'No database is named', mend: 'Name it' } })
})

t.test('a credential among the arguments is refused, wherever it stands, and not repeated', async (t) => {
  for (const credential of [
    'cflo_live_sk_0123456789ABCDEFGHIJKLMNOPQRSTUV4WDIK4',
    `cflo_${'0123456789abcdef'.repeat(4)}`,
    'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl',
    'postgres://app:hunter2@db/app'
  ]) {
    for (const args of [['key', 'inspect', credential], ['key', 'list', '--tenant', credential], ['sign', `--secret=${credential}`], ['doctor', '--issuer', credential, '--json']]) {
      const { code, out, err } = await invoke(args)
      t.strictSame([code, out], [2, ''], args.join(' '))
      t.match(err, /among the arguments/)
      t.notMatch(err, /0123456789|MfKQ|eyJ|hunter2/)
    }
  }
})

t.test('the prefix of a key and an URL without a password are no credentials', async (t) => {
  t.match(await ask(['key', 'list', '--tenant', 'cflo_live_sk_012345']), { code: 0 })
  t.match(await ask(['key', 'create', '--tenant', 'a', '--name', 'https://user@example.com:8080/x']), { code: 0 })
})

t.test('a secret inside of a failure from below is taken out of it', async (t) => {
  const openStore = async () => { throw new TypeError('Invalid URL postgres://app:hunter2@db, key cflo_live_sk_0123456789ABCDEFGHIJKLMNOPQRSTUV4WDIK4') }
  const said = await invoke(['migrate'], { openStore })
  t.equal(said.code, 4)
  t.match(said.err, 'Invalid URL postgres://app:[redacted]@db, key [redacted]')
  t.notMatch(said.err, /hunter2|0123456789/)
  t.match(await ask(['migrate'], { openStore }), { code: 4, failure: { error: 'fault', message: 'Invalid URL postgres://app:[redacted]@db, key [redacted]' } })
})

t.test('an unexpected fault says where it happened, a failure that is expected does not', async (t) => {
  t.match((await invoke(['migrate'], { openStore: async () => { throw new RangeError('boom') } })).err, /^causeflow-auth: boom\nRangeError: boom\n {4}at /)
  t.equal((await invoke(['migrate'], { openStore: async () => { throw usageFailure('no', 'so') } })).err, 'causeflow-auth: no\n  so\n')
})
