/**
 * Gateways that are killed, stopped for a while, started and cut off from each other, with words that
 * take their time: never two holders where all hear each other, and one within 10 s.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { BOUNDS, Leases, type Stand } from '../../protocols/lease/index.ts'
import { compareBytes, equalBytes } from '../../protocols/wire/index.ts'
import { deviceOf } from '../helpers/telemetry.ts'
import { seededRandom } from '../helpers/random.ts'

const NAME = 'broker'
const STEP_MS = 50
const MAX_DELAY_MS = 900
/** A connection of a started gateway is there after so long at most. */
const TAKEOVER_MS = 10_000

interface Gateway {
  readonly key: Uint8Array
  /** Undefined while it does not run. */
  leases: Leases | undefined
  /** Stopped until then; it hears nothing, and what comes waits for it. */
  stoppedUntilMs: number
  nextBeatMs: number
}

interface Letter {
  readonly atMs: number
  readonly from: Gateway
  readonly to: Gateway
  readonly stands: readonly Stand[]
}

class World {
  nowMs = 0
  readonly gateways: readonly Gateway[]
  /** Side of the network of each. */
  readonly sides = new Map<Gateway, number>()
  readonly #letters: Letter[] = []
  readonly #below: (n: number) => number

  constructor(seed: number, count: number) {
    const random = seededRandom(`lease/${seed}`)
    this.#below = (n) => {
      const [a = 0, b = 0] = random.bytes(2)
      return (a * 256 + b) % n
    }
    this.gateways = Array.from({ length: count }, (_, i) => ({
      key: deviceOf(`gateway-${i}`).key,
      leases: undefined,
      stoppedUntilMs: 0,
      nextBeatMs: 0,
    }))
    for (const one of this.gateways) this.sides.set(one, 0)
  }

  below(n: number): number {
    return this.#below(n)
  }

  start(gateway: Gateway): void {
    const leases = new Leases({ key: gateway.key, nowMs: this.nowMs })
    const others = this.gateways.filter((one) => one !== gateway).map(({ key }) => key)
    leases.setOthers(others, this.nowMs)
    leases.want([NAME], this.nowMs)
    gateway.leases = leases
    gateway.nextBeatMs = this.nowMs
  }

  step(): void {
    this.nowMs += STEP_MS
    for (const gateway of this.gateways) {
      if (gateway.leases === undefined || this.nowMs < gateway.stoppedUntilMs) continue
      // After a pause, what waited in its sockets may come before its own timer.
      if (this.below(2) === 0) this.#deliver(gateway)
      if (this.nowMs >= gateway.nextBeatMs) {
        gateway.leases.tick(this.nowMs)
        this.#say(gateway)
        gateway.nextBeatMs = this.nowMs + BOUNDS.beatMs
      }
      this.#deliver(gateway)
    }
  }

  #deliver(gateway: Gateway): void {
    const due = this.#letters.filter(({ to, atMs }) => to === gateway && atMs <= this.nowMs)
    for (const letter of due) {
      this.#letters.splice(this.#letters.indexOf(letter), 1)
      const { leases } = gateway
      if (leases?.hear(letter.from.key, letter.stands, this.nowMs) === true) this.#say(gateway)
    }
  }

  /** In order between two, as on a stream. */
  #say(from: Gateway): void {
    const stands = from.leases?.stands() ?? []
    for (const to of this.gateways) {
      if (to === from || this.sides.get(to) !== this.sides.get(from)) continue
      const last = this.#letters.findLast((one) => one.from === from && one.to === to)?.atMs ?? 0
      const atMs = Math.max(last, this.nowMs + this.below(MAX_DELAY_MS))
      this.#letters.push({ atMs, from, to, stands })
    }
  }

  /** Those that would send at this moment. */
  holders(): Gateway[] {
    return this.gateways.filter((one) => one.leases?.holds(NAME, this.nowMs) === true)
  }

  run(forMs: number, check: () => void = () => undefined): void {
    for (const endMs = this.nowMs + forMs; this.nowMs < endMs;) {
      this.step()
      check()
    }
  }
}

function started(seed: number, count = 2 + (seed % 3)): World {
  const world = new World(seed, count)
  for (const gateway of world.gateways) world.start(gateway)
  world.run(TAKEOVER_MS)
  return world
}

function atMostOne(world: World): () => void {
  return () => {
    const holders = world.holders()
    assert.ok(holders.length <= 1, `${holders.length} hold it at ${world.nowMs} ms`)
  }
}

const SEEDS = Array.from({ length: 40 }, (_, i) => i)

describe('gateways that share a sink', () => {
  it('never send two at a time where all hear each other, whoever is killed, stopped or started', () => {
    for (const seed of SEEDS) {
      const world = started(seed)
      for (let round = 0; round < 12; round++) {
        const gateway = world.gateways[world.below(world.gateways.length)]
        assert.ok(gateway)
        const what = world.below(3)
        if (what === 0) gateway.leases = undefined
        else if (what === 1) gateway.stoppedUntilMs = world.nowMs + world.below(12_000)
        else if (gateway.leases === undefined) world.start(gateway)
        world.run(world.below(15_000), atMostOne(world))
      }
    }
  })

  it('have another within 10 s when the one that sends is killed, and it stays', () => {
    for (const seed of SEEDS) {
      const world = started(seed)
      const [holder, ...more] = world.holders()
      assert.ok(holder !== undefined && more.length === 0)
      holder.leases = undefined
      world.run(TAKEOVER_MS, atMostOne(world))
      const [next] = world.holders()
      assert.ok(next !== undefined && next !== holder, `seed ${seed}`)
      // Back again, it takes nothing away.
      world.start(holder)
      world.run(3 * TAKEOVER_MS, () => assert.deepEqual(world.holders(), [next]))
      // All of them know who it is.
      for (const { leases } of world.gateways) {
        assert.ok(equalBytes(leases?.holder(NAME) ?? new Uint8Array(), next.key))
      }
    }
  })

  it('send on both sides of a broken network, and one gives way when it is whole', () => {
    for (const seed of SEEDS) {
      const world = started(seed)
      const [first] = world.gateways
      assert.ok(first)
      world.sides.set(first, 1)
      world.run(TAKEOVER_MS)
      assert.equal(world.holders().length, 2)
      world.sides.set(first, 0)
      world.run(BOUNDS.beatMs + MAX_DELAY_MS + STEP_MS)
      world.run(3 * TAKEOVER_MS, () => assert.equal(world.holders().length, 1, `seed ${seed}`))
    }
  })

  it('go on at once where the one that sends stops in order', () => {
    for (const seed of SEEDS) {
      const world = started(seed, 2)
      const [holder] = world.holders()
      assert.ok(holder?.leases)
      holder.leases.want([], world.nowMs)
      assert.equal(world.holders().length, 0)
      world.run(MAX_DELAY_MS + BOUNDS.beatMs + BOUNDS.claimMs + MAX_DELAY_MS, atMostOne(world))
      assert.equal(world.holders().length, 1)
      assert.notEqual(world.holders()[0], holder)
    }
  })

  it('are heard through a third, where two do not hear each other', () => {
    const world = started(1, 3)
    const [left, middle, right] = world.gateways.toSorted((a, b) => compareBytes(a.key, b.key))
    assert.ok(left && middle && right)
    const hear = (to: Gateway, from: Gateway): void => {
      to.leases?.hear(from.key, from.leases?.stands() ?? [], world.nowMs)
    }
    for (let at = 0; at < 30; at++) {
      world.nowMs += BOUNDS.beatMs
      for (const { leases } of world.gateways) leases?.tick(world.nowMs)
      for (const one of [left, right]) {
        hear(middle, one)
        hear(one, middle)
      }
      if (at > 10) assert.equal(world.holders().length, 1, `after ${at} s`)
    }
  })
})
