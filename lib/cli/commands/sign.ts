/** `sign`: the headers of a delivery. */
import { Option, type Command } from 'commander'
import { signWebhook } from '../../webhook/sign.js'
import { addCommand, answer, parsed, readMoment, type Seat } from '../command.js'
import { exit } from '../exit-code.js'
import { usageFailure } from '../failure.js'
import { printable } from '../printable.js'
import { readBody, readScheme, readSecrets, secretHelp, withSigning, type SigningOptions } from '../signing.js'

export function addSign (parent: Command, { world, end }: Seat): void {
  const command = addCommand(parent, 'sign', 'print the headers that sign a body', {
    notes: ['The bytes are signed as they are: send exactly these.', secretHelp],
    examples: [
      'printf %s "$BODY" | causeflow-auth sign --secret-env WEBHOOK_SECRET',
      'curl -H @<(causeflow-auth sign --body event.json) --data-binary @event.json https://example.com/events'
    ]
  })
  withSigning(command)
    .option('--id <id>', 'the delivery\'s id, for schemes that have one (default: a new one)')
    .addOption(new Option('--timestamp <time>', 'the delivery\'s time, ISO 8601 or seconds since the epoch (default: now)').argParser(parsed(readMoment)))
    .action(async (options: SigningOptions & { json?: boolean, id?: string, timestamp?: number }) => {
      const scheme = readScheme(options)
      const [secret, ...more] = await readSecrets(options, scheme, world)
      if (secret === undefined || more.length > 0) throw usageFailure('One secret signs: name one')
      const body = await readBody(options, world)
      const headers = signWebhook(body, secret, scheme, {
        timestamp: Math.floor((options.timestamp ?? world.clock()) / 1000),
        ...options.id !== undefined && { id: options.id }
      })
      answer(world, options, headers, () => Object.entries(headers).map(([name, value]) => `${printable(name)}: ${printable(value)}\n`).join(''))
      end(exit.done)
    })
}
