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

/** A pack that has its place in its log. */
export type Accepted = Extract<Judgement, { verdict: 'accept' }> & Incoming

export type Outcome =
  | Accepted
  | (Extract<Judgement, { verdict: 'known' | 'refuse' }> & Incoming)
  | (Incoming & {
      readonly verdict: 'fork'
      readonly against: number
      /** This very proof is new. */
      readonly fresh: boolean
    })

/** Where room has to be made for a batch all of it is judged again: each pack is told of once. */
export function tellOnce(tell: (outcome: Accepted) => void): (outcome: Accepted) => void {
  const told = new Set<Pack>()
  return (outcome) => {
    if (told.has(outcome.pack)) return
    told.add(outcome.pack)
    tell(outcome)
  }
}
