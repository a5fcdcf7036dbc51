import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { describe, it } from 'node:test'

import { examine, type Patient } from '../../node/services/doctor.ts'
import { virtualClock } from '../helpers/clock.ts'

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
    assert.deepEqual(await failing({ mesh: () => ({ ...well, addresses: [] }) }), ['port'])
    assert.deepEqual(await failing({ port: 4647 }), ['port'])
    assert.deepEqual(await failing({ mesh: () => ({ ...well, multicast: false }) }), ['multicast'])
    const homeless = { time: () => undefined, clock: virtualClock(0) }
    assert.deepEqual(await failing(homeless), ['clock'])
    const unset = { quality: 'unset', floorMs: virtualClock().now() + 1, unplaced: 3 } as const
    assert.deepEqual(await failing({ time: () => unset }), ['clock'])
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
