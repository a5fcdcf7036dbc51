/*
 *   one unique local prefix          one global prefix               two networks at once
 *
 *   oak fd4b:…::1 ──┐                oak 2a01:…::1 ──┐               ┌── "left"  fd01:…:: ──┐
 *   elm fd4b:…::2 ──┴ "lan"          elm 2a01:…::2 ──┴ "lan"        oak                    elm
 *                                                                    └── "right" 2a01:…:: ──┘
 *
 * Homes get any of these from their routers. The documentation prefix 2001:db8:: is not used: it
 * counts as private in places where a real prefix does not.
 */
import { describe, it } from 'node:test'

import { needs } from '../helpers/tools.ts'
import { startLab } from './devices.ts'
import type { Topology } from './netns.ts'

const NAMES = ['oak', 'elm']
const ONLINE_LIMIT_MS = 30_000
const READING_LIMIT_MS = 40_000

function lan(prefix: string): Topology {
  return {
    lan: NAMES.map((device, i) => ({
      device,
      interface: 'eth0',
      addresses: [`${prefix}::${i + 1}/64`],
    })),
  }
}

describe('a home with', needs('namespaces'), () => {
  for (const [what, prefix] of [
    ['a unique local prefix', 'fd4b:17:5e:1'],
    ['a global prefix', '2a01:4f8:c17:5e'],
  ] as const) {
    it(`${what} pairs, and streams readings both ways`, async () => {
      const lab = await startLab(lan(prefix))
      try {
        await lab.makeHome()
        await lab.online(NAMES, ONLINE_LIMIT_MS)
        await Promise.all([
          lab.freshReading('oak', 'elm', READING_LIMIT_MS),
          lab.freshReading('elm', 'oak', READING_LIMIT_MS),
        ])
      } finally {
        await lab[Symbol.asyncDispose]()
      }
    })
  }

  it('two networks goes on over either when the other is gone', async (t) => {
    const lab = await startLab({
      left: NAMES.map((device, i) => ({
        device,
        interface: 'eth0',
        addresses: [`fd01:17:5e:1::${i + 1}/64`],
      })),
      right: NAMES.map((device, i) => ({
        device,
        interface: 'eth1',
        addresses: [`2a01:4f8:c17:5f::${i + 1}/64`],
      })),
    })
    try {
      await lab.makeHome()
      await lab.online(NAMES, ONLINE_LIMIT_MS)
      for (const [gone, left] of [
        ['eth0', 'eth1'],
        ['eth1', 'eth0'],
      ] as const) {
        await lab.world.setCable('elm', left, 'in')
        await lab.world.setCable('elm', gone, 'out')
        const started = performance.now()
        await lab.freshReading('oak', 'elm', READING_LIMIT_MS)
        t.diagnostic(
          `without ${gone}: a new reading after ${Math.round(performance.now() - started)} ms`,
        )
        await lab.online(NAMES, ONLINE_LIMIT_MS)
      }
    } finally {
      await lab[Symbol.asyncDispose]()
    }
  })
})
