/** What others outside ask of the home's devices: held against the rules, and called under the gateway's own role. */
import type { JsonValue } from '../node/index.ts'

/** As a sink has read it from whoever asks; nothing in it is trusted. */
export interface SinkCommand {
  readonly sink: string
  /** A name or an id. */
  readonly device: string
  readonly verb: 'write' | 'invoke'
  readonly name: string
  readonly input?: JsonValue | undefined
}

export interface CommandAnswer {
  readonly status: 'done' | 'waiting' | 'refused' | 'failed'
  /** For people; undefined where it was done. */
  readonly why?: string
  /** Of the receipt. */
  readonly call?: string
}

/** Never throws: what went wrong is in the answer. */
export type Ask = (command: SinkCommand, signal: AbortSignal) => Promise<CommandAnswer>
