/** What the rest of the device asks of the logs of packs on disk; packs.ts is what answers. */
import type {
  ForkProof,
  Pack,
  PackSource,
  ProofSource,
  SeqRange,
} from '../../protocols/telemetry/index.ts'
import type { GapRow } from './gap-rows.ts'
import type { Accepted, Incoming, Outcome } from './outcome.ts'
import type { Fork } from './pack-logs.ts'
import type { Unplaced } from './placing.ts'
import type { BucketRow, HistoryQuery, ReadingRow } from './readings.ts'
import type { Limits } from './room.ts'

export interface PackStore extends PackSource, ProofSource {
  /**
   * Make the next pack of this device's own log and put it on disk. Its rows for questions about the
   * past follow with `file`, with the next pack, or before the next question.
   * @throws NodeError NODE_DATABASE where the disk stays full; what `make` throws
   */
  appendOwn(device: Uint8Array, make: (seq: number, prev: Uint8Array) => Pack, nowMs: number): Pack
  /** Write rows that were put off. @throws NodeError NODE_DATABASE where the disk stays full */
  file(): void
  /**
   * Judge and keep packs of other devices, in order, all in one transaction. `onAccepted` is called
   * for each that is accepted before it is written: should the disk refuse it then, it comes again.
   * It must not use the database.
   * @throws NodeError NODE_DATABASE where the disk stays full
   */
  insert(batch: readonly Incoming[], onAccepted?: (outcome: Accepted) => void): Outcome[]
  /** Highest number known of a log, kept or not; 0 for none. */
  head(device: Uint8Array): number
  heads(): { readonly device: Uint8Array; readonly seq: number }[]
  gaps(device: Uint8Array): SeqRange[]
  /** When the machine of `device` started, as its packs of that boot tell; UTC milliseconds. */
  bornMs(device: Uint8Array, bootId: Uint8Array): number | undefined
  /** Packs that wait for their time to be known; undefined for none. */
  unplaced(device: Uint8Array): Unplaced | undefined
  /** Newest time of this log's packs that were made by a clock in step; undefined for none. */
  newestSyncedMs(device: Uint8Array): number | undefined
  /** When the newest pack of all was received; undefined for none. */
  newestReceivedMs(): number | undefined
  history(device: Uint8Array, query: HistoryQuery): (ReadingRow | BucketRow | GapRow)[]
  forks(device: Uint8Array): Fork[]
  /**
   * Keep a proof that came from elsewhere: the device's packs count no more until `release`. False
   * where it is known already.
   */
  addProof(proof: ForkProof, nowMs: number): boolean
  /** Whether the device signed two histories and is not trusted again. */
  isQuarantined(device: Uint8Array): boolean
  /** An owner looked at the forks and trusts the device again, and what came from it since. */
  release(device: Uint8Array): void
  /**
   * Remove up to a few dozen of the oldest packs, by arrival, while they were received before
   * `receivedBeforeMs` or the database holds more than `maxBytes`; then summaries that are too old,
   * or for room the oldest of them. The newest pack of each log stays. Returns how many rows went;
   * 0 means done.
   */
  prune(limits: Limits): number
  /**
   * Call `listener` with true when the disk is found full, or at once where it is, and with false
   * once there is room again.
   * Returns the function that stops it.
   */
  onFull(listener: (full: boolean) => void): () => void
}
