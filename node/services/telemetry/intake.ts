/**
 * Packs of other devices on their way to disk. One pack alone is written at once; whatever comes in
 * the same turn of the event loop, or while that write is under way, goes into one transaction (group
 * commit), so a flood pays for few fsyncs. Bounded: whoever offers more than fits waits, and so does the peer it reads from.
 */
import { setImmediate } from 'node:timers/promises'

import type { Logger } from 'pino'

import type { ForkProof, Pack, SeqRange } from '../../../protocols/telemetry/index.ts'
import { toHex } from '../../../protocols/wire/index.ts'
import type { Clock } from '../../env.ts'
import { asError } from '../../errors.ts'
import type { Emitter } from '../../events.ts'
import type { Incoming, Outcome, PackStore } from '../../storage/packs.ts'
import type { Timekeeper } from '../../timekeeper.ts'
import type { KeptPack, TelemetryEvents } from './live.ts'

/** A device of the home, as telemetry sees it. */
export interface TelemetryMember {
  /** Public key, 32 bytes. */
  readonly key: Uint8Array
  /** Its role lets it publish. */
  readonly publishes: boolean
  /** For a removed device: the last pack that stays accepted. */
  readonly lastSeq?: number | undefined
}

export interface IntakeDeps {
  readonly store: PackStore
  readonly member: (device: Uint8Array) => TelemetryMember | undefined
  readonly events: Emitter<TelemetryEvents>
  /** A pack was verified and has its place in its log; it is not on this disk yet. */
  readonly onAccepted: (accepted: KeptPack) => void
  /** It is on disk. */
  readonly onKept: (kept: KeptPack) => void
  /** Packs are newly known to be missing. */
  readonly onGap: (device: Uint8Array, gap: SeqRange) => void
  /** The disk refused the packs that waited: they must be asked for again. */
  readonly onFailed: (error: Error) => void
  readonly clock: Clock
  readonly time: Pick<Timekeeper, 'quality'>
  readonly log: Logger
}

export interface Intake {
  /** Hand over a pack that `openPack` has checked. Resolves when there is room for the next one. */
  offer(pack: Pack): Promise<void>
  /** Hand over a proof of two histories that a peer passed on. */
  prove(proof: ForkProof): void
  /** Resolves when all that was handed over is on disk, or was refused. */
  settled(): Promise<void>
  /** Refusals are reported anew. */
  membersChanged(): void
}

/** Bytes that may wait for the disk. */
const MAX_WAITING_BYTES = 1024 * 1024

function incomingOf({ clock, time }: IntakeDeps, pack: Pack, lastSeq?: number): Incoming {
  const clockUnset = time.quality() === 'unset'
  return { pack, receivedAtMs: clock.now(), clockUnset, lastSeq }
}

/** The packs convict by themselves; who passed them on says nothing. */
function prove({ store, member, log, events, clock }: IntakeDeps, proof: ForkProof): void {
  const [{ device, seq }] = proof
  if (member(device) === undefined || !store.addProof(proof, clock.now())) return
  log.error({ device: toHex(device), seq }, 'device signed two histories')
  events.emit('fork', { device, seq })
}

interface Reporter {
  readonly report: (outcome: Outcome) => void
  readonly refuse: (device: Uint8Array, code: string) => void
  readonly clear: () => void
}

/** Tells what became of packs; each reason to refuse a device's packs once. */
function createReporter(deps: IntakeDeps): Reporter {
  const reported = new Set<string>()

  function report(outcome: Outcome): void {
    const { device, seq } = outcome.pack
    if (outcome.verdict === 'accept') {
      const { gap } = outcome
      if (gap !== undefined) deps.onGap(device, gap)
      deps.onKept(outcome)
    } else if (outcome.verdict === 'fork' && outcome.fresh) {
      deps.log.error({ device: toHex(device), seq }, 'device signed two histories')
      deps.events.emit('fork', { device, seq: outcome.against })
    } else if (outcome.verdict === 'refuse') {
      refuse(device, outcome.code)
    }
  }

  function refuse(device: Uint8Array, code: string): void {
    const key = `${toHex(device)}/${code}`
    if (reported.has(key)) return
    reported.add(key)
    deps.log.warn({ device: toHex(device), code }, 'pack refused')
    deps.events.emit('refused', { device, code })
  }

  return { report, refuse, clear: () => reported.clear() }
}

export function createIntake(deps: IntakeDeps): Intake {
  let waiting: Incoming[] = []
  let waitingBytes = 0
  let writing = Promise.resolve()
  let busy = false
  const reporter = createReporter(deps)

  async function write(): Promise<void> {
    busy = true
    try {
      while (waiting.length > 0) {
        const batch = waiting
        waiting = []
        waitingBytes = 0
        for (const outcome of deps.store.insert(batch, deps.onAccepted)) reporter.report(outcome)
        // Whatever else has already arrived goes together.
        await setImmediate()
      }
    } catch (error) {
      waiting = []
      waitingBytes = 0
      deps.onFailed(asError(error))
    } finally {
      // At once, not in a later turn: nothing may be added to a queue that no one empties.
      busy = false
    }
  }

  return {
    async offer(pack) {
      const member = deps.member(pack.device)
      if (member === undefined || (!member.publishes && member.lastSeq === undefined)) {
        reporter.refuse(pack.device, 'TELEMETRY_NOT_A_PUBLISHER')
        return
      }
      waiting.push(incomingOf(deps, pack, member.lastSeq))
      waitingBytes += pack.bytes.length
      if (!busy) writing = write()
      if (waitingBytes > MAX_WAITING_BYTES) await writing
    },
    prove: (proof) => prove(deps, proof),
    settled: () => writing,
    membersChanged: () => reporter.clear(),
  }
}
