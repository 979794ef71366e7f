/** Load on one server: connections with one request in the air each, their latencies and a count of wrong answers. */
import { connect } from 'node:net'

/** Sends `count` requests in turn and resolves to `{ seconds, latencies }` (milliseconds). Throws at the first answer with another status. */
export async function drive ({ port, requests, status }, count, connections = 10) {
  const latencies = new Float64Array(count)
  let next = 0
  let answered = 0
  const expected = `HTTP/1.1 ${status} `
  const started = performance.now()
  await Promise.all(Array.from({ length: Math.min(connections, count) }, () => new Promise((resolve, reject) => {
    let socket
    let sentAt = 0
    let received = ''
    const open = () => {
      socket = connect(port, '127.0.0.1', send)
      socket.setNoDelay(true)
      socket.on('data', read)
      socket.on('error', reject)
    }
    const send = () => {
      if (next === count) { socket.end(); return resolve() }
      const request = requests[next++ % requests.length]
      sentAt = performance.now()
      socket.write(request)
    }
    const read = (chunk) => {
      received += chunk.latin1Slice()
      const end = received.indexOf('\r\n\r\n')
      if (end < 0) return
      const head = received.slice(0, end)
      const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0)
      if (received.length < end + 4 + length) return
      if (!head.startsWith(expected)) return reject(new Error(`expected ${status} and got ${received.slice(0, 400)}`))
      latencies[answered++] = performance.now() - sentAt
      received = ''
      if (/\r\nconnection: close/i.test(head)) { socket.destroy(); open() } else send()
    }
    open()
  })))
  return { seconds: (performance.now() - started) / 1000, latencies: latencies.sort() }
}
