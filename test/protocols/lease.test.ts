import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import {
  BOUNDS,
  hearLeases,
  LEASE,
  Leases,
  speakLeases,
  Word,
  type Done,
  type Stand,
} from '../../protocols/lease/index.ts'
import { fromHex, toHex, WireError, type Channel } from '../../protocols/wire/index.ts'
import { channelPair } from '../helpers/channels.ts'
import { virtualClock } from '../helpers/clock.ts'
import { deviceOf } from '../helpers/telemetry.ts'
import { assertBothWays, bytesIn, byName, readVectors } from '../helpers/vectors.ts'

/** One gateway and what happens to it: at a time it hears somebody, or looks at the clock. */
interface Step {
  readonly atMs: number
  readonly from?: string
  readonly stands?: unknown
  readonly then: { readonly stand: Stand['stand']; readonly term: number; readonly holds: boolean }
}

interface Run {
  readonly name: string
  readonly self: string
  readonly others: readonly string[]
  readonly steps: readonly Step[]
}

const NAME = 'broker'
const vectors = readVectors<Run[]>('lease')
const lamp = deviceOf('lamp').key
const never = new AbortController().signal

describe('the lease vectors', () => {
  it('match both ways', () => {
    assert.ok(vectors.messages.length >= 4)
    assertBothWays(vectors, byName(Word))
  })

  it('are refused where they are invalid', async () => {
    assert.ok(vectors.invalid.length >= 6)
    for (const { name, hex, code } of vectors.invalid) {
      await assert.rejects(heard(fromHex(hex)), { code }, name)
    }
  })

  it('hold what one gateway does, step by step', () => {
    for (const { name, self, others, steps } of vectors.runs) {
      const leases = new Leases({ key: fromHex(self), nowMs: 0 })
      leases.setOthers(others.map(fromHex), 0)
      leases.want([NAME], 0)
      for (const { atMs, from, stands, then } of steps) {
        if (from === undefined) leases.tick(atMs)
        else leases.hear(fromHex(from), bytesIn(stands) as Stand[], atMs)
        const [now] = leases.stands()
        const found = { stand: now?.stand, term: now?.term, holds: leases.holds(NAME, atMs) }
        assert.deepEqual(found, then, `${name}, ${atMs} ms`)
      }
    }
  })
})

/** A frame as a stranger might send it, and what its hearer makes of it. */
async function heard(frame: Uint8Array, mayHear = true): Promise<void> {
  const [near, far] = await channelPair(LEASE)
  const hearing = hearLeases(far.channel, {
    mayHear: () => mayHear,
    onStands: () => undefined,
    onDone: () => undefined,
  })
  const length =
    frame.length < 128 ? [frame.length] : [(frame.length & 127) | 128, frame.length >> 7]
  near.stream.send(new Uint8Array([...length, ...frame]))
  await near.stream.close()
  await hearing
}

describe('what gateways say', () => {
  it('is not heard from others', async () => {
    const word = Word.encode({ stands: [] })
    await heard(word)
    await assert.rejects(heard(word, false), { code: 'LEASE_FORBIDDEN' })
  })

  it('is taken in no other spelling, and anything else is refused with a code', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        try {
          assert.equal(toHex(Word.encode(Word.decode(bytes))), toHex(bytes))
        } catch (error) {
          assert.ok(error instanceof WireError, String(error))
        }
      }),
    )
  })

  it('comes at once, every second, and when it changes; what is done but once', async () => {
    const clock = virtualClock()
    const stop = new AbortController()
    const [near, far] = await channelPair(LEASE, clock)
    let stand: Stand['stand'] = 'holds'
    let rows: Done['rows'] = [{ device: lamp, seq: 4 }]
    let change = (): void => undefined
    const speaking = speakLeases(
      near.channel,
      {
        clock,
        stands: () => [{ name: NAME, stand, term: 1 }],
        done: () => rows,
        onChange: (listener) => {
          change = listener
          return () => undefined
        },
      },
      stop.signal,
    )
    const next = nextOf(far.channel)
    assert.equal(await next(), 'holds')
    assert.equal(await next(), 'done 4')
    await clock.advance(BOUNDS.beatMs)
    assert.equal(await next(), 'holds')
    rows = [{ device: lamp, seq: 9 }]
    await clock.advance(BOUNDS.beatMs)
    assert.deepEqual([await next(), await next()], ['holds', 'done 9'])
    stand = 'waits'
    change()
    assert.equal(await next(), 'waits')
    stand = 'holds'
    change()
    // Whoever hears it may have lost what was told before.
    assert.deepEqual([await next(), await next()], ['holds', 'done 9'])
    stand = 'waits'
    stop.abort(new Error('over'))
    await speaking
    assert.equal(await next(), 'waits')
  })

  it('is split where there are many devices', async () => {
    const [near, far] = await channelPair(LEASE)
    const rows = Array.from({ length: BOUNDS.maxRows + 1 }, (_, i) => ({
      device: deviceOf(`device-${i}`).key,
      seq: i,
    }))
    const stop = new AbortController()
    const speaking = speakLeases(
      near.channel,
      {
        clock: virtualClock(),
        stands: () => [{ name: NAME, stand: 'holds', term: 1 }],
        done: () => rows,
        onChange: () => () => undefined,
      },
      stop.signal,
    )
    const sizes: number[] = []
    for await (const { done } of far.channel.messages(Word)) {
      if (done !== undefined) sizes.push(done.rows.length)
      if (sizes.length === 2) break
    }
    assert.deepEqual(sizes, [BOUNDS.maxRows, 1])
    stop.abort(new Error('over'))
    await speaking
  })
})

function nextOf(channel: Channel): () => Promise<string> {
  return async () => {
    const word = await channel.next(Word)
    return word?.stands?.[0]?.stand ?? `done ${word?.done?.rows[0]?.seq}`
  }
}

describe('a lease', () => {
  const other = deviceOf('other').key

  it('is held at once where the home has no other gateway, and not where it has', () => {
    const leases = new Leases({ key: lamp, nowMs: 0 })
    leases.want([NAME], 0)
    assert.equal(leases.holds(NAME, 0), true)
    leases.setOthers([other], 1)
    leases.want([NAME, 'cloud'], 1)
    assert.deepEqual([leases.holds(NAME, 1), leases.holds('cloud', 1)], [true, false])
    leases.want([], 2)
    assert.deepEqual(leases.stands(), [])
  })

  it('does not listen to who is no gateway of the home, or is none any more', () => {
    const leases = new Leases({ key: lamp, nowMs: 0 })
    leases.setOthers([other], 0)
    leases.want([NAME], 0)
    leases.hear(deviceOf('stranger').key, [{ name: NAME, stand: 'holds', term: 5 }], 0)
    assert.equal(leases.holder(NAME), undefined)
    leases.hear(other, [{ name: NAME, stand: 'holds', term: 5 }], 0)
    assert.equal(leases.holder(NAME), other)
    leases.setOthers([], 1)
    assert.equal(leases.holds(NAME, 1), true)
  })

  it('has bounds: terms, and how many there are', () => {
    const leases = new Leases({ key: lamp, nowMs: 0 })
    leases.setOthers([other], 0)
    leases.want(
      Array.from({ length: 40 }, (_, i) => `${i}`),
      0,
    )
    assert.equal(leases.stands().length, BOUNDS.maxLeases)
    leases.hear(other, [{ name: '0', stand: 'waits', term: BOUNDS.maxTerm }], 0)
    for (let at = 1000; at <= 3000; at += 1000) leases.tick(at)
    leases.hear(other, [{ name: '0', stand: 'waits', term: BOUNDS.maxTerm }], 4000)
    leases.tick(4000)
    assert.doesNotThrow(() => Word.encode({ stands: leases.stands() }))
    assert.equal(leases.stands()[0]?.term, BOUNDS.maxTerm)
  })

  it('speaks of nothing before it is asked', async () => {
    const [near, far] = await channelPair(LEASE)
    const stop = new AbortController()
    const deps = {
      clock: virtualClock(),
      stands: () => [],
      done: () => [],
      onChange: () => () => undefined,
    }
    const speaking = speakLeases(near.channel, deps, AbortSignal.any([never, stop.signal]))
    assert.deepEqual(await far.channel.next(Word), { stands: [] })
    stop.abort(new Error('over'))
    await speaking
  })
})
