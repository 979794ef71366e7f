/** Tells those who watch an investigation what happens in it. */
import { EventEmitter } from 'node:events'

export interface ProgressEvent {
  readonly type: 'step' | 'log' | 'cancelled'
  readonly text: string
}

export class Progress {
  readonly #emitter = new EventEmitter().setMaxListeners(0)

  publish (tenantId: string, investigationId: string, event: ProgressEvent): void {
    this.#emitter.emit(`${tenantId}/${investigationId}`, event)
  }

  /** Call the answer to hear no more. */
  subscribe (tenantId: string, investigationId: string, listener: (event: ProgressEvent) => void): () => void {
    const name = `${tenantId}/${investigationId}`
    this.#emitter.on(name, listener)
    return () => this.#emitter.off(name, listener)
  }
}
