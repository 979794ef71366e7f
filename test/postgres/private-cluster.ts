import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { freePort } from '../fixtures/free-port.js'

type Signal = 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'

/** Where the programs of PostgreSQL are; null: they are not on this machine. */
export function postgresPrograms (): string | null {
  const root = '/usr/lib/postgresql'
  if (process.platform !== 'linux' || !existsSync(root)) return null
  const versions = readdirSync(root).sort((a, b) => Number(b) - Number(a))
  return versions.map((version) => join(root, version, 'bin')).find((path) => existsSync(join(path, 'initdb'))) ?? null
}

/** A server of this test alone, which may be hurt. */
export async function privateCluster (t: Test, programs: string): Promise<PrivateCluster> {
  const data = ownDirectory(t)
  run(programs, 'initdb', ['-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync'], data)
  return new PrivateCluster(t, programs, data, await freePort())
}

export class PrivateCluster {
  readonly port: number
  readonly #t: Test
  readonly #programs: string
  readonly #data: string
  #server: ChildProcess
  #ended: Promise<unknown>

  constructor (t: Test, programs: string, data: string, port: number) {
    this.#t = t
    this.#programs = programs
    this.#data = data
    this.port = port
    const { server, ended } = this.#spawn()
    this.#server = server
    this.#ended = ended
    t.teardown(async () => {
      this.go()
      await this.quit()
    })
  }

  #spawn (): { server: ChildProcess, ended: Promise<unknown> } {
    const server = spawn(join(this.#programs, 'postgres'), ['-D', this.#data, '-p', `${this.port}`, '-k', this.#data, '-c', 'listen_addresses=127.0.0.1', '-c', 'fsync=off', '-c', 'wal_retrieve_retry_interval=100ms'], { ...identity(), cwd: this.#data, stdio: 'ignore' })
    return { server, ended: new Promise((resolve) => server.on('exit', resolve)) }
  }

  /** Every process of the server stops where it is, as on a machine that hangs: sockets stay open and nothing answers. */
  stop (): void {
    this.#signal('SIGSTOP')
  }

  go (): void {
    this.#signal('SIGCONT')
  }

  /** Ends as an operator ends it: clients are sent away. */
  async quit (): Promise<void> {
    this.#server.kill('SIGINT')
    await this.#ended
  }

  /** Kills every process of the server, as when a machine is switched off. */
  async kill (): Promise<void> {
    this.#signal('SIGKILL')
    await this.#ended
  }

  start (): void {
    const { server, ended } = this.#spawn()
    this.#server = server
    this.#ended = ended
  }

  /** From now on no file grows beyond so many bytes, as on a full disk; null: as far as it may. */
  limitFiles (bytes: number | null): void {
    const first = this.#server.pid as number
    for (const pid of [first, ...childrenOf(first)]) {
      try {
        execFileSync('prlimit', ['--pid', `${pid}`, `--fsize=${bytes ?? 'unlimited'}:`], { ...identity(), cwd: this.#data, stdio: 'ignore' })
      } catch (error) {
        // A process that has ended by itself meanwhile needs no limit.
        if (pid === first) throw error
      }
    }
  }

  /** A second server that follows this one and confirms what it has received. */
  async standby (): Promise<PrivateCluster> {
    const data = ownDirectory(this.#t)
    run(this.#programs, 'pg_basebackup', ['-h', '127.0.0.1', '-p', `${this.port}`, '-U', 'postgres', '-D', data, '-R', '-X', 'stream', '-c', 'fast', '--no-sync'], data)
    return new PrivateCluster(this.#t, this.#programs, data, await freePort())
  }

  /** A standby becomes the one that is written to. */
  promote (): void {
    run(this.#programs, 'pg_ctl', ['promote', '-D', this.#data, '-w'], this.#data)
  }

  #signal (name: Signal): void {
    const first = this.#server.pid as number
    // Stopped before they are counted, or it could start one more meanwhile.
    send(first, 'SIGSTOP')
    for (const pid of [...childrenOf(first), first]) send(pid, name)
  }
}

/** PostgreSQL does not run as root. */
function identity (): { uid?: number, gid?: number } {
  return process.getuid?.() === 0 ? { uid: idOf('-u'), gid: idOf('-g') } : {}
}

function idOf (flag: string): number {
  return Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))
}

function ownDirectory (t: Test): string {
  const data = mkdtempSync(join(tmpdir(), 'causeflow-postgres-'))
  const { uid, gid } = identity()
  if (uid !== undefined && gid !== undefined) chownSync(data, uid, gid)
  t.teardown(() => rmSync(data, { recursive: true, force: true }))
  return data
}

function run (programs: string, program: string, args: string[], cwd: string): void {
  execFileSync(join(programs, program), args, { ...identity(), cwd, stdio: 'ignore' })
}

function send (pid: number, name: Signal): void {
  try {
    process.kill(pid, name)
  } catch {
    // It has just ended by itself.
  }
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
