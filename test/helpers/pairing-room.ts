import assert from 'node:assert/strict'

import pino from 'pino'

import { NodeError } from '../../node/errors.ts'
import { createJournal, type Journal, type JournalEvent } from '../../node/journal.ts'
import {
  createAdmission,
  type Admission,
  type AdmissionDeps,
} from '../../node/services/admission.ts'
import { createCandidate, type Candidate, type CandidateDeps } from '../../node/services/pairing.ts'
import { createWindowStore, migration } from '../../node/storage/counters.ts'
import { openDatabase } from '../../node/storage/db.ts'
import type { Clock } from '../../protocols/env.ts'
import { formatCode, PAIRING, parseCode } from '../../protocols/pairing/index.ts'
import { equalBytes, type Channel } from '../../protocols/wire/index.ts'
import { channelPair, type ChannelEnd } from './channels.ts'
import { virtualClock } from './clock.ts'
import { CANDIDATE_KEY, HOME, MEMBER_KEY, OPS } from './pairing.ts'
import { seededRandom } from './random.ts'

export const ADDRESS = '/ip6/fe80::1/tcp/4000'
const log = pino({ level: 'silent' })
export const forever = new AbortController().signal

type Handle = Parameters<CandidateDeps['listen']>[0]['handle']

/** Candidates that listen, by the number they announce; runs are over streams in memory. */
export class Air {
  readonly #listening: { discriminator: string; key: Uint8Array; handle: Handle }[] = []
  readonly #clock: Clock
  /** Changes what a member's end of the next streams does. */
  tap: (end: ChannelEnd) => void = () => undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get count(): number {
    return this.#listening.length
  }

  listen(key: Uint8Array): CandidateDeps['listen'] {
    return async ({ discriminator, handle }, signal) => {
      const entry = { discriminator, key, handle }
      const stop = (): void => {
        const at = this.#listening.indexOf(entry)
        if (at >= 0) this.#listening.splice(at, 1)
      }
      this.#listening.push(entry)
      signal.addEventListener('abort', stop, { once: true })
      return {
        addresses: [ADDRESS, '/ip6zone/lan0/ip6/fe80::1/tcp/4000'],
        [Symbol.asyncDispose]: async () => stop(),
      }
    }
  }

  find(discriminator: string): readonly { key: Uint8Array; addresses: readonly string[] }[] {
    return this.#listening
      .filter((one) => one.discriminator === discriminator)
      .map(({ key }) => ({ key, addresses: [ADDRESS] }))
  }

  async dial<T>(
    key: Uint8Array,
    run: (channel: Channel, peer: Uint8Array) => Promise<T>,
  ): Promise<T> {
    const there = this.#listening.find((one) => equalBytes(one.key, key)) ?? this.#listening[0]
    if (there === undefined) throw new Error('nobody answers')
    const [near, far] = await channelPair(PAIRING, this.#clock)
    there
      .handle(far.channel, MEMBER_KEY, '/ip6/fe80::2')
      .catch((error: Error) => far.stream.abort(error))
    this.tap(near)
    try {
      return await run(near.channel, there.key)
    } catch (error) {
      near.stream.abort(error as Error)
      throw error
    }
  }
}

export interface Pair {
  readonly clock: ReturnType<typeof virtualClock>
  readonly air: Air
  readonly journal: Journal
  readonly candidate: Candidate
  readonly admission: Admission
  /** What the owner granted, and what the candidate stored. */
  readonly granted: Parameters<AdmissionDeps['grant']>[0][]
  readonly accepted: Uint8Array[]
}

interface Changes {
  readonly candidate?: Partial<CandidateDeps>
  readonly admission?: Partial<AdmissionDeps>
}

/** A new device and an owner's device in one room. */
export function pair(changes: Changes = {}): Pair {
  const clock = virtualClock()
  const air = new Air(clock)
  const journal = createJournal(clock)
  const granted: Pair['granted'] = []
  const accepted: Uint8Array[] = []
  const candidate = createCandidate({
    key: CANDIDATE_KEY,
    name: () => 'Balcony',
    store: storeOn(clock),
    clock,
    random: seededRandom('candidate'),
    log,
    journal,
    listen: air.listen(CANDIDATE_KEY),
    accept: async (_ops, home) => void accepted.push(home),
    joined: () => ({ homeName: 'Oak Road', byName: 'kitchen' }),
    ...changes.candidate,
  })
  const admission = createAdmission({
    key: MEMBER_KEY,
    random: seededRandom('member'),
    log,
    requireHome: () => HOME,
    find: async (discriminator) => air.find(discriminator),
    dial: ({ key }, run) => air.dial(key, run),
    async grant(wanted) {
      granted.push(wanted)
      return OPS
    },
    ...changes.admission,
  })
  return { clock, air, journal, candidate, admission, granted, accepted }
}

/** Counters in a real database; the machine has run for a while. */
function storeOn(clock: Clock) {
  const boot = { id: 'one', uptimeMs: () => 5_000_000 + clock.monotonic() }
  return createWindowStore(openDatabase(':memory:', [migration]), boot)
}

/** The next event of this type, or one that is kept. */
export async function event({ journal }: Pair, type: string): Promise<JournalEvent['data']> {
  for await (const one of journal.follow(0, forever)) if (one.type === type) return one.data
  throw new Error('the journal has ended')
}

export async function happened({ journal }: Pair): Promise<string[]> {
  const seen: string[] = []
  if (journal.last === 0) return seen
  for await (const { id, type } of journal.follow(0, forever)) {
    seen.push(type)
    if (id === journal.last) break
  }
  return seen
}

/** The code with another secret, as formatted for people. */
export function wrongCode(code: string, by = 1): string {
  const { discriminator, digits } = parseCode(code)
  const other = String((Number(digits) + by) % 10 ** 8).padStart(8, '0')
  return formatCode({ discriminator, digits: other })
}

export async function refused(act: Promise<unknown>): Promise<NodeError> {
  const error: unknown = await act.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof NodeError, `not refused as it should be: ${String(error)}`)
  return error
}
