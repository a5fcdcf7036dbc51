import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'

import type { Reading } from '../../node/api/view.ts'
import { folders, loopbackOf, makeHome, startDevice, type TestDevice } from '../helpers/device.ts'

const dirs = folders()
after(() => dirs[Symbol.asyncDispose]())

const SENSORS = ['air', 'door'].map((name) => `[sensor.${name}]\ntype = "push"\n`).join('\n')
const HOUR_MS = 3_600_000

/** The next live readings, from the moment of the call; `act` is repeated until they are there. */
async function heard({ view }: TestDevice, count: number, act: () => Promise<void>) {
  const found: Reading[] = []
  const stop = new AbortController()
  const again = setInterval(() => void act(), 500)
  try {
    for await (const reading of view.watch({}, stop.signal)) {
      found.push(reading)
      if (found.length === count) break
    }
  } finally {
    clearInterval(again)
  }
  return found
}

describe('a guest’s device', { timeout: 60_000 }, () => {
  it('gets the sensors that an owner names, for as long as the owner says', async () => {
    const [dir, other] = [await dirs.make(), await dirs.make()]
    await writeFile(join(dir, 'config.toml'), SENSORS)
    await using owner = await startDevice(dir, { 'telemetry.max_wait': '1s' })
    await makeHome(owner)
    await using guest = await startDevice(other, { 'mesh.peers': await loopbackOf(owner) })
    const { qr } = await guest.view.openPairing({})
    const terms = { allow: ['read:air'], forMs: HOUR_MS }
    const input = { qr, role: 'guest', name: 'tablet', ...terms } as const
    await owner.view.addDevice(input, new AbortController().signal)

    const push = (): Promise<void> =>
      owner.view.push([
        { sensor: 'door', value: 1 },
        { sensor: 'air', value: 21.5 },
      ])
    for (const { sensor, value, name, verified, source } of await heard(guest, 2, push)) {
      assert.deepEqual([sensor, value, verified, source], ['air', 21.5, false, 'extract'])
      assert.equal(name, 'kitchen')
    }
    const past: unknown[] = []
    const query = { device: 'kitchen' }
    for await (const row of guest.view.history(query, new AbortController().signal)) past.push(row)
    assert.ok(past.length >= 2)
    assert.ok(past.every((row) => (row as Reading).source === 'extract'))

    const readers = async () =>
      Object.fromEntries((await owner.view.sensors()).map((one) => [one.name, one.readers]))
    const tablet = { name: 'tablet', role: 'guest' }
    const before = await readers()
    assert.deepEqual(before['air'], [{ ...tablet, through: 'read:air' }])
    assert.deepEqual(before['door'], [])
    const row = (await owner.view.devices()).find(({ name }) => name === 'tablet')
    assert.deepEqual(row?.allow, ['read:air'])
    assert.ok(Math.abs((row.until ?? 0) - Date.now() - HOUR_MS) < 60_000)

    await assert.rejects(owner.view.grant('tablet', 'member', terms), { code: 'NODE_USAGE' })
    await owner.view.grant('tablet', 'guest', { allow: ['read:door'] })
    assert.deepEqual((await readers())['door'], [{ ...tablet, through: 'read:door' }])
    const later = await heard(guest, 3, push)
    assert.equal(later.at(-1)?.sensor, 'door')
  })
})
