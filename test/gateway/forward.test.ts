import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { pino } from 'pino'

import { readGatewayText } from '../../gateway/config.ts'
import { forward, type TakenPack } from '../../gateway/forward.ts'
import { policyOf, type Policy } from '../../gateway/policy.ts'
import type { GatewayCursor, GatewayPack } from '../../node/index.ts'
import { virtualClock } from '../helpers/clock.ts'

const ATTIC = { id: 'id-attic', fingerprint: 'abcd2345', name: 'attic' }
const key = new Uint8Array(32)

function policyFrom(rules: string, caps: readonly string[] = ['read:*']): Policy {
  const read = readGatewayText(
    `[sink.m]\ntype = "mqtt"\nbroker = "mqtt://x"\n[sink.n]\ntype = "mqtt"\nbroker = "mqtt://y"\n${rules}`,
  )
  assert.ok(read.ok)
  return policyOf(read.settings, caps, [ATTIC])
}

function pack(seq: number, atMs: number, value: number): GatewayPack {
  const of = { device: key, deviceId: ATTIC.id, name: 'attic', seq }
  const reading = {
    ...of,
    sensor: 'load',
    value,
    atMs,
    index: 0,
    timeUncertain: false,
    verified: true,
  }
  return { ...of, kind: 'pack', bytes: new Uint8Array([seq]), readings: [reading], live: true }
}

interface World {
  readonly put: TakenPack[]
  readonly cursors: GatewayCursor[]
  readonly ids: () => readonly string[]
}

/** Forwards `packs`; `between` runs after each is taken. */
async function run(
  packs: readonly GatewayPack[],
  policy: () => Policy,
  between: (seq: number) => void = () => undefined,
): Promise<World> {
  const put: TakenPack[] = []
  const cursors: GatewayCursor[] = []
  await forward(
    {
      clock: virtualClock(),
      log: pino({ level: 'silent' }),
      policy,
      async *deliveries(cursor) {
        cursors.push(cursor)
        for (const one of packs) {
          yield one
          between(one.seq)
        }
      },
      outbox: {
        cursor: () => new Map([[ATTIC.id, 4]]),
        put: async (some) => void put.push(...some),
      },
    },
    new AbortController().signal,
  )
  const ids = (): readonly string[] =>
    put.flatMap(({ items }) => items.map(({ sink, item }) => `${sink} ${item.id}`))
  return { put, cursors, ids }
}

const PACKS = [pack(5, 1000, 1), pack(6, 2000, 2), pack(7, 11_000, 3)]

describe('from the mesh to the outbox', () => {
  it('takes every pack for good, with nothing in it where nothing may leave', async () => {
    const none = policyFrom('[[forward]]\nsink = "m"\n', [])
    const { put, ids, cursors } = await run(PACKS, () => none)
    assert.deepEqual(
      put.map(({ seq }) => seq),
      [5, 6, 7],
    )
    assert.deepEqual(ids(), [])
    assert.equal(cursors[0]?.get(ATTIC.id), 4)
  })

  it('gives each sink each reading once, under an id that never changes', async () => {
    const twice = policyFrom(
      '[[forward]]\nsink = "m"\n[[forward]]\nsink = "m"\n[[forward]]\nsink = "n"\n',
    )
    const { ids } = await run(PACKS.slice(0, 1), () => twice)
    assert.deepEqual(ids(), ['m id-attic/5/0', 'n id-attic/5/0'])
  })

  it('gives packs whole, byte for byte, where the rule says raw', async () => {
    const raw = policyFrom('[[forward]]\nsink = "m"\nform = "raw"\n')
    const { put } = await run(PACKS.slice(0, 1), () => raw)
    assert.deepEqual(put[0]?.items[0]?.item.pack, new Uint8Array([5]))
    assert.equal(put[0]?.items[0]?.item.id, 'id-attic/5')
  })

  it('lets the last reading of each time leave, and at the end what is held', async () => {
    const thinned = policyFrom('[[forward]]\nsink = "m"\nevery = "10s"\n')
    const { put, ids } = await run(PACKS, () => thinned)
    assert.deepEqual(ids(), ['m id-attic/6/0', 'm id-attic/7/0'])
    assert.equal(put.at(-1)?.held, true)
  })

  it('keeps back at once what a narrower rule does not let leave any more, held or new', async () => {
    let policy = policyFrom('[[forward]]\nsink = "m"\nevery = "10s"\n')
    const { ids } = await run(
      PACKS,
      () => policy,
      (seq) => {
        if (seq === 6) policy = policyFrom('')
      },
    )
    assert.deepEqual(ids(), [])
  })
})
