/** What goes into the store of packs, and what became of it. */
import type { Judgement, Pack } from '../../protocols/telemetry/index.ts'

export interface Incoming {
  readonly pack: Pack
  /** UTC milliseconds by this device's clock. */
  readonly receivedAtMs: number
  /** This device's own clock is not set. */
  readonly clockUnset?: boolean | undefined
  /** For a removed device: the last pack that stays accepted. */
  readonly lastSeq?: number | undefined
}

export type Outcome =
  | (Extract<Judgement, { verdict: 'accept' | 'known' | 'refuse' }> & Incoming)
  | (Incoming & {
      readonly verdict: 'fork'
      readonly against: number
      /** This very proof is new. */
      readonly fresh: boolean
    })
