/** How far a call of this device has come: for the service that makes it, and for people. */
export type CallState =
  /** On its way to a device that is awake, or its answer is. */
  | 'sent'
  /** On this device alone. */
  | 'queued'
  /** On the disks of at least two members. */
  | 'held'
  /** The sleeper has it. */
  | 'delivered'
  /** A receipt is here, with whatever status but the two below. */
  | 'executed'
  | 'expired'
  | 'cancelled'
  /** Its time is over and no receipt came: it may have been executed. */
  | 'unknown'

const UNDERWAY: ReadonlySet<CallState> = new Set(['sent', 'queued', 'held', 'delivered'])

/** Nobody knows yet what came of it: it is on its way, or waits for a device that sleeps. */
export function isUnderway({ state }: { readonly state: CallState }): boolean {
  return UNDERWAY.has(state)
}
