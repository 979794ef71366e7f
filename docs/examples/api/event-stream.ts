/** Server-sent events: what a browser reads with `fetch`, and with EventSource where it needs no Authorization header. */
import { PassThrough } from 'node:stream'

/** Bytes that may wait for a slow reader. */
const mostWaiting = 1_048_576

export class EventStream extends PassThrough {
  constructor () {
    super()
    // A line that is no event: the head of the answer is sent with the first byte, and nothing may happen for a while.
    this.write(': connected\n\n')
  }

  send (event: string, data: object): void {
    if (this.writableEnded) return
    if (this.writableLength > mostWaiting) this.destroy()
    else this.write(frame(event, data))
  }

  /** Says why there will be no more. */
  finish (event: string): void {
    if (!this.writableEnded) this.end(frame(event, {}))
  }
}

/** JSON has no line breaks of its own, so an event cannot be forged from within. */
function frame (event: string, data: object): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
}
