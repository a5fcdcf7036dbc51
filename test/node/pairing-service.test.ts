import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

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
import { fingerprintOf, peerIdOf } from '../../protocols/identity/index.ts'
import {
  decodeQr,
  encodeQr,
  formatCode,
  PAIRING,
  parseCode,
} from '../../protocols/pairing/index.ts'
import { equalBytes, type Channel, type Message } from '../../protocols/wire/index.ts'
import { channelPair, type ChannelEnd } from '../helpers/channels.ts'
import { virtualClock } from '../helpers/clock.ts'
import { CANDIDATE_KEY, HOME, MEMBER_KEY, OPS, OTHER_KEY } from '../helpers/pairing.ts'
import { seededRandom } from '../helpers/random.ts'

const ADDRESS = '/ip6/fe80::1/tcp/4000'
const log = pino({ level: 'silent' })
const forever = new AbortController().signal

type Handle = Parameters<CandidateDeps['listen']>[0]['handle']

/** Candidates that listen, by the number they announce; runs are over streams in memory. */
class Air {
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

interface Pair {
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
function pair(changes: Changes = {}): Pair {
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
async function event({ journal }: Pair, type: string): Promise<JournalEvent['data']> {
  for await (const one of journal.follow(0, forever)) if (one.type === type) return one.data
  throw new Error('the journal has ended')
}

async function happened({ journal }: Pair): Promise<string[]> {
  const seen: string[] = []
  if (journal.last === 0) return seen
  for await (const { id, type } of journal.follow(0, forever)) {
    seen.push(type)
    if (id === journal.last) break
  }
  return seen
}

/** The code with another secret, as formatted for people. */
function wrongCode(code: string, by = 1): string {
  const { discriminator, digits } = parseCode(code)
  const other = String((Number(digits) + by) % 10 ** 8).padStart(8, '0')
  return formatCode({ discriminator, digits: other })
}

async function refused(act: Promise<unknown>): Promise<NodeError> {
  const error: unknown = await act.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof NodeError, `not refused as it should be: ${String(error)}`)
  return error
}

describe('pairing by code', () => {
  it('adds the device in its role, says so on both sides, and closes the window', async () => {
    const room = pair()
    const { code, since, expiresAt } = await room.candidate.open()
    assert.deepEqual([since, expiresAt], [0, room.clock.now() + 600_000])
    const added = await room.admission.add({ code, role: 'sensor' }, forever)
    assert.deepEqual(added, { key: CANDIDATE_KEY, name: 'Balcony', role: 'sensor' })
    assert.deepEqual(room.granted, [
      { key: CANDIDATE_KEY, role: 'sensor', name: 'Balcony', paired: 'code' },
    ])
    const paired = await event(room, 'pairing.paired')
    assert.deepEqual(
      [paired['homeName'], paired['byName'], paired['role'], paired['by'], paired['byFingerprint']],
      ['Oak Road', 'kitchen', 'sensor', peerIdOf(MEMBER_KEY), fingerprintOf(MEMBER_KEY)],
    )
    assert.equal(room.candidate.status().open, false)
    await room.clock.advance(1000)
    assert.deepEqual(await event(room, 'pairing.closed'), { reason: 'paired' })
    assert.equal(room.air.count, 0)
  })

  it('says after a wrong code how many tries are left, and the second time more', async () => {
    const room = pair()
    const { code } = await room.candidate.open()
    const add = (by: number) =>
      refused(room.admission.add({ code: wrongCode(code, by), role: 'member' }, forever))
    const first = await add(1)
    assert.deepEqual(
      [first.code, first.message],
      ['NODE_PAIRING', 'The code did not match. 4 tries left.'],
    )
    assert.match(first.hint ?? '', new RegExp(fingerprintOf(CANDIDATE_KEY)))
    assert.match((await add(2)).message, /3 tries left.*interfering/)
    assert.equal(room.candidate.status().triesLeft, 3)
    assert.deepEqual(await event(room, 'pairing.tried'), {
      text: 'A wrong code was tried from /ip6/fe80::2.',
      triesLeft: 4,
    })
    assert.deepEqual([room.granted, room.accepted], [[], []])
    await room.admission.add({ code, role: 'member' }, forever)
    assert.equal(room.accepted.length, 1)
  })

  it('closes for good after the fifth wrong code, and the right one comes too late', async () => {
    const room = pair()
    const { code } = await room.candidate.open()
    for (let by = 1; by <= 5; by++) {
      await refused(room.admission.add({ code: wrongCode(code, by), role: 'member' }, forever))
    }
    assert.deepEqual(await event(room, 'pairing.closed'), { reason: 'spent' })
    assert.equal(room.air.count, 0)
    const late = await refused(room.admission.add({ code, role: 'member' }, forever))
    assert.deepEqual([late.code, room.granted.length], ['NODE_NOT_FOUND', 0])
  })

  it('succeeds with the last try while wrong ones are under way', async () => {
    const room = pair()
    const { code } = await room.candidate.open()
    const wrong = [1, 2, 3, 4].map((by) =>
      refused(room.admission.add({ code: wrongCode(code, by), role: 'member' }, forever)),
    )
    const right = room.admission.add({ code, role: 'member' }, forever)
    assert.equal((await right).name, 'Balcony')
    await Promise.all(wrong)
    assert.deepEqual(
      (await happened(room)).filter((type) => type === 'pairing.closed'),
      [],
    )
    await room.clock.advance(1000)
    assert.deepEqual(await event(room, 'pairing.closed'), { reason: 'paired' })
    assert.equal(room.accepted.length, 1)
  })

  it('spends no try on a mistyped code', async () => {
    const room = pair()
    const { code } = await room.candidate.open()
    const last = (Number(code.at(-1)) + 1) % 10
    const error = await refused(
      room.admission.add({ code: `${code.slice(0, -1)}${last}`, role: 'member' }, forever),
    )
    assert.deepEqual([error.code, room.candidate.status().triesLeft], ['NODE_USAGE', 5])
  })

  it('finds nobody, or refuses to guess between two', async () => {
    const room = pair()
    const { code } = await room.candidate.open()
    const { discriminator } = parseCode(code)
    await room.air.listen(OTHER_KEY)({ discriminator, handle: async () => undefined }, forever)
    const two = await refused(room.admission.add({ code, role: 'member' }, forever))
    assert.deepEqual(
      [two.code, two.message],
      ['NODE_PAIRING', 'Two devices show the same number. Scan the QR code.'],
    )
    assert.equal(room.candidate.status().triesLeft, 5)
    await room.candidate.close()
    const empty = pair()
    const none = await refused(empty.admission.add({ code, role: 'member' }, forever))
    assert.equal(none.code, 'NODE_NOT_FOUND')
    assert.match(none.hint ?? '', /kith pair/)
  })

  it('is refused where this device may not add devices, before anything is sent', async () => {
    const room = pair({
      admission: {
        requireHome: () => {
          throw new NodeError('NODE_DENIED', 'Only an owner can.')
        },
      },
    })
    const { code } = await room.candidate.open()
    assert.equal(
      (await refused(room.admission.add({ code, role: 'member' }, forever))).code,
      'NODE_DENIED',
    )
    assert.equal(room.candidate.status().triesLeft, 5)
  })
})

describe('pairing by QR code', () => {
  it('needs no multicast, and no zone of ours is in it', async () => {
    const room = pair({ admission: { find: async () => [] } })
    const { qr } = await room.candidate.open()
    assert.deepEqual(decodeQr(qr).addresses, [ADDRESS])
    await room.admission.add({ qr, role: 'owner' }, forever)
    assert.equal(room.granted[0]?.paired, 'qr')
    assert.equal((await event(room, 'pairing.paired'))['role'], 'owner')
  })

  it('tells two devices with one number apart', async () => {
    const room = pair()
    const { code, qr } = await room.candidate.open()
    const { discriminator } = parseCode(code)
    await room.air.listen(OTHER_KEY)({ discriminator, handle: async () => undefined }, forever)
    const { name } = await room.admission.add({ qr, role: 'member', name: 'Porch' }, forever)
    assert.deepEqual([name, room.granted[0]?.name, room.accepted.length], ['Porch', 'Porch', 1])
  })

  it('sends nothing to a device with another key', async () => {
    const room = pair()
    const { qr } = await room.candidate.open()
    const other = encodeQr({ ...decodeQr(qr), key: OTHER_KEY })
    const error = await refused(room.admission.add({ qr: other, role: 'member' }, forever))
    assert.match(error.message, /not the one that was scanned/)
    assert.match(error.hint ?? '', /Nothing was sent/)
    assert.equal(room.candidate.status().triesLeft, 5)
  })

  it('is refused where the text is none', async () => {
    const { admission } = pair()
    for (const qr of ['', 'kith:', 'https://example.org', 'kith:' + 'A'.repeat(4000)]) {
      assert.equal(
        (await refused(admission.add({ qr, role: 'member' }, forever))).code,
        'NODE_USAGE',
      )
    }
  })
})

describe('a run that breaks off', () => {
  it('after the code was proved closes the window, and a second one finds the grant again', async () => {
    let refusing = true
    const room = pair({
      candidate: {
        accept: async () => {
          if (refusing) throw new Error('disk full')
        },
      },
    })
    const { code } = await room.candidate.open()
    const error = await refused(room.admission.add({ code, role: 'member' }, forever))
    assert.equal(error.message, 'The new device refused to join.')
    assert.deepEqual(await event(room, 'pairing.closed'), { reason: 'interrupted' })
    assert.equal(room.air.count, 0)
    refusing = false
    const again = await room.candidate.open()
    await room.admission.add({ code: again.code, role: 'member' }, forever)
    assert.equal(room.granted.length, 2)
  })

  it('before the acknowledgement leaves the new device in the home, and says so to the owner', async () => {
    const room = pair()
    const { code } = await room.candidate.open()
    let sent = 0
    room.air.tap = ({ channel, stream }) => {
      const receive = channel.receive.bind(channel)
      // The fourth message of the candidate is its acknowledgement.
      channel.receive = <T>(message: Message<T>): Promise<T> => {
        if (++sent === 4) stream.abort(new Error('cable pulled'))
        return receive(message)
      }
    }
    const error = await refused(room.admission.add({ code, role: 'member' }, forever))
    assert.equal(error.code, 'NODE_PAIRING')
    assert.match(error.message, /did not confirm/)
    await event(room, 'pairing.paired')
    assert.equal(room.accepted.length, 1)
  })
})

describe('the pairing window', () => {
  it('ends when its time is up, at ten minutes or earlier where asked', async () => {
    for (const [minutes, ms] of [
      [undefined, 600_000],
      [2, 120_000],
      [60, 600_000],
    ] as const) {
      const room = pair()
      await room.candidate.open({ minutes })
      await room.clock.advance(ms - 1)
      assert.equal(room.candidate.status().open, true)
      await room.clock.advance(1)
      assert.deepEqual(await event(room, 'pairing.closed'), { reason: 'expired' })
      assert.deepEqual([room.candidate.status().open, room.air.count], [false, 0])
    }
  })

  it('ends when a person stops it, once', async () => {
    const room = pair()
    await room.candidate.open()
    await room.candidate.close()
    await room.candidate.close()
    assert.deepEqual(await happened(room), ['pairing.closed'])
    assert.deepEqual(room.candidate.status(), { open: false, expiresAt: null, triesLeft: 0 })
  })

  it('opens three times an hour, then says in how many minutes again', async () => {
    const room = pair()
    for (let i = 0; i < 3; i++) {
      await room.candidate.open()
      await room.clock.advance(60_000)
    }
    const error = await refused(room.candidate.open())
    assert.deepEqual(
      [error.code, error.hint],
      ['NODE_PAIRING', 'Nothing is open. Try again in 57 minutes.'],
    )
    assert.equal(room.air.count, 0)
    await room.clock.advance(56 * 60_000)
    assert.match((await refused(room.candidate.open())).hint ?? '', /in 1 minute\./)
    await room.clock.advance(60_000)
    await room.candidate.open()
  })

  it('is one at a time, also where two are asked for at once', async () => {
    const room = pair()
    const [one, two] = await Promise.all([room.candidate.open(), room.candidate.open()])
    assert.equal(room.air.count, 1)
    assert.notEqual(one.code, two.code)
    await room.admission.add({ code: two.code, role: 'member' }, forever)
  })

  it('does not outlive the service, even where it was just being opened', async () => {
    const room = pair()
    const opening = room.candidate.open()
    await Promise.all([opening, room.candidate[Symbol.asyncDispose]()]).catch(() => undefined)
    assert.equal(room.air.count, 0)
    await assert.rejects(room.candidate.open())
  })
})
