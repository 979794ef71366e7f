import { execFileSync, spawn } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

export interface PrivateCluster {
  port: number
  /** Every process of the server stops where it is, as on a machine that hangs: sockets stay open and nothing answers. */
  stop (): void
  go (): void
  /** Kills every process of the server, as when a machine is switched off and on again, and starts it anew. */
  crash (): Promise<void>
}

/** Where the programs of PostgreSQL are; null: they are not on this machine. */
export function postgresPrograms (): string | null {
  const root = '/usr/lib/postgresql'
  if (process.platform !== 'linux' || !existsSync(root)) return null
  const versions = readdirSync(root).sort((a, b) => Number(b) - Number(a))
  return versions.map((version) => join(root, version, 'bin')).find((path) => existsSync(join(path, 'initdb'))) ?? null
}

/** A server of this test alone, which may be hurt. */
export async function privateCluster (t: Test, programs: string): Promise<PrivateCluster> {
  const data = mkdtempSync(join(tmpdir(), 'causeflow-postgres-'))
  t.teardown(() => rmSync(data, { recursive: true, force: true }))
  // PostgreSQL does not run as root.
  const identity = process.getuid?.() === 0 ? { uid: idOf('-u'), gid: idOf('-g') } : {}
  if (identity.uid !== undefined) chownSync(data, identity.uid, identity.gid)
  const port = await freePort()
  execFileSync(join(programs, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync'], { ...identity, cwd: data, stdio: 'ignore' })
  const start = () => {
    const server = spawn(join(programs, 'postgres'), ['-D', data, '-p', `${port}`, '-k', data, '-c', 'listen_addresses=127.0.0.1', '-c', 'fsync=off'], { ...identity, cwd: data, stdio: 'ignore' })
    return { server, ended: new Promise((resolve) => server.on('exit', resolve)) }
  }
  let { server, ended } = start()
  const send = (pid: number, name: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void => {
    try {
      process.kill(pid, name)
    } catch {
      // It has just ended by itself.
    }
  }
  const signal = (name: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void => {
    const first = server.pid as number
    // Stopped before they are counted, or it could start one more meanwhile.
    send(first, 'SIGSTOP')
    for (const pid of [...childrenOf(first), first]) send(pid, name)
  }
  t.teardown(async () => {
    signal('SIGCONT')
    server.kill('SIGINT')
    await ended
  })
  return {
    port,
    stop: () => signal('SIGSTOP'),
    go: () => signal('SIGCONT'),
    async crash () {
      signal('SIGKILL')
      await ended
      const again = start()
      server = again.server
      ended = again.ended
    }
  }
}

function idOf (flag: string): number {
  return Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))
}

/** Each of them is in a session of its own, so there is no group to send to. */
function childrenOf (parent: number): number[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    try {
      // pid (name) state parent …
      return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ')[1]) === parent
    } catch {
      return false
    }
  })
}

async function freePort (): Promise<number> {
  const server = net.createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
