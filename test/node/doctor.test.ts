import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { describe, it } from 'node:test'

import { careView } from '../../node/device/view-care.ts'
import { examine, type Patient } from '../../node/services/doctor.ts'
import { grant, membersAt, reduce, rename } from '../../protocols/members/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { as, genesisOf, keyNamed, put, setOf, signerNamed, START_MS } from '../helpers/members.ts'

const well = {
  multicast: true,
  addresses: ['/ip6/fd00::2/tcp/4646'],
  connected: 1,
  absent: [],
}

function patient(changes: Partial<Patient> = {}): Patient {
  return {
    clock: virtualClock(),
    dataDir: tmpdir(),
    interfaces: () => ({
      eth0: [
        {
          address: 'fe80::1',
          netmask: 'ffff:ffff:ffff:ffff::',
          family: 'IPv6',
          mac: '02:00:00:00:00:01',
          internal: false,
          cidr: 'fe80::1/64',
          scopeid: 2,
        },
      ],
    }),
    mesh: () => well,
    removed: () => false,
    restored: () => false,
    newsMs: () => undefined,
    multicastWanted: true,
    port: 4646,
    time: () => ({ quality: 'unsynced', floorMs: 0, unplaced: 0 }),
    ...changes,
  }
}

async function failing(changes: Partial<Patient>): Promise<string[]> {
  const checks = await examine(patient(changes))
  for (const { ok, cure } of checks) assert.equal(cure === '', ok, 'a cure for what is not ok')
  return checks.filter(({ ok }) => !ok).map(({ check }) => check)
}

describe('doctor', () => {
  it('finds nothing wrong with a device that is well', async () => {
    assert.deepEqual(await failing({}), [])
  })

  it('names what is wrong, and nothing else', async () => {
    assert.deepEqual(await failing({ interfaces: () => ({}) }), ['address'])
    assert.deepEqual(await failing({ mesh: () => undefined }), ['home'])
    assert.deepEqual(await failing({ removed: () => true }), ['home'])
    assert.deepEqual(await failing({ restored: () => true }), ['home'])
    assert.deepEqual(await failing({ mesh: () => ({ ...well, addresses: [] }) }), ['port'])
    assert.deepEqual(await failing({ port: 4647 }), ['port'])
    assert.deepEqual(await failing({ mesh: () => ({ ...well, multicast: false }) }), ['multicast'])
    const homeless = { time: () => undefined, clock: virtualClock(0) }
    assert.deepEqual(await failing(homeless), ['clock'])
    const unset = { quality: 'unset', floorMs: virtualClock().now() + 1, unplaced: 3 } as const
    assert.deepEqual(await failing({ time: () => unset }), ['clock'])
  })

  it('warns of a membership that may be stale, after 30 days', async () => {
    const day = 86_400_000
    const now = virtualClock().now()
    assert.deepEqual(await failing({ newsMs: () => now - 30 * day + 1 }), [])
    assert.deepEqual(await failing({ newsMs: () => now - 30 * day }), ['membership'])
    const checks = await examine(patient({ newsMs: () => now - 40 * day }))
    const found = checks.find(({ check }) => check === 'membership')
    assert.match(found?.cause ?? '', /membership may be stale.* 40 days/)
  })

  it('counts what an owner signed, and having met one, as news of the home', async () => {
    const day = 86_400_000
    const clock = virtualClock(START_MS)
    const set = setOf(genesisOf('ann'))
    const wanted = {
      subject: keyNamed('cid'),
      role: 'member',
      name: 'cid',
      paired: 'code',
    } as const
    put(set, grant(as(set, 'ann'), wanted))
    const active = membersAt(reduce(set), START_MS)
    const [connected, seen] = [new Set<Uint8Array>(), new Map<Uint8Array, number>()]
    const isFresh = async (who: 'ann' | 'cid'): Promise<boolean | undefined> => {
      const base = {
        clock,
        config: {
          device: { name: who },
          paths: { dataDir: tmpdir() },
          mesh: { multicast: false, port: 0 },
        },
        signer: signerNamed(who),
        peers: {
          get: (key: Uint8Array) => (seen.has(key) ? { seenMs: seen.get(key) } : undefined),
        },
      }
      const state = reduce(set)
      const self = active.find(({ name }) => name === who)
      const home = {
        announced: new Set(),
        actuators: { problems: () => new Map() },
        mailbox: { presence: () => ({ state: 'offline' }) },
        members: { ops: set, state, self, active: () => active, lastHello: () => undefined },
        mesh: {
          multicast: false,
          addresses: () => [],
          peers: () => [...connected].map((key) => ({ key, address: '' })),
        },
        telemetry: {
          unplaced: () => undefined,
          progress: () => undefined,
          isQuarantined: () => false,
        },
        time: { quality: () => 'synced', floorMs: () => 0 },
      }
      const view = careView(
        base as never,
        () => home as never,
        async () => undefined,
      )
      return (await view.doctor()).find(({ check }) => check === 'membership')?.ok
    }
    const ann = active.find(({ name }) => name === 'ann')?.key ?? new Uint8Array()
    await clock.advance(30 * day)
    assert.equal(await isFresh('ann'), true, 'an owner needs no word of others')
    assert.equal(await isFresh('cid'), false)
    connected.add(ann)
    assert.equal(await isFresh('cid'), true)
    connected.clear()
    seen.set(ann, START_MS + day)
    assert.equal(await isFresh('cid'), true)
    await clock.advance(day)
    assert.equal(await isFresh('cid'), false)
    put(set, rename(as(set, 'ann', START_MS + 20 * day), undefined, 'House'))
    assert.equal(await isFresh('cid'), true)
  })

  it('tells a firewall from a device that is off', async () => {
    const with_ = (announced: boolean) => ({
      ...well,
      connected: 0,
      absent: [{ name: 'attic', announced }],
    })
    const [behindWall, off] = await Promise.all(
      [true, false].map(async (announced) =>
        (await examine(patient({ mesh: () => with_(announced) }))).find(
          ({ check }) => check === 'peers',
        ),
      ),
    )
    assert.match(behindWall?.cure ?? '', /firewall/i)
    assert.match(off?.cure ?? '', /switched on/)
  })
})
