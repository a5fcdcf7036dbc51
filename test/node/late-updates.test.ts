import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import type { DeviceBase } from '../../node/device/base.ts'
import type { Home } from '../../node/device/home.ts'
import { createLateUpdates } from '../../node/device/late-updates.ts'
import { virtualClock } from '../helpers/clock.ts'
import { folders, makeHome, startDevice } from '../helpers/device.ts'

describe('updates, which are loaded late', () => {
  it('are there for whoever asks in the first moment', async () => {
    await using made = folders()
    await using device = await startDevice(await made.make())
    await makeHome(device)
    const { channels, store } = await device.view.updates()
    assert.deepEqual(channels, [])
    assert.equal(store.bytes, 0)
  })

  it('that cannot start leave the device as it is, and are tried again', async () => {
    await using made = folders()
    const dir = await made.make()
    const inTheWay = join(dir, 'update')
    await writeFile(inTheWay, 'not a folder')
    await using device = await startDevice(dir)
    await makeHome(device)
    await assert.rejects(device.view.updates(), /ENOTDIR|EEXIST/)
    assert.equal((await device.view.status()).home?.name, 'Oak Road')
    await rm(inTheWay)
    assert.deepEqual((await device.view.updates()).channels, [])
  })

  it('are not loaded in a wake of a home in which nobody ever decided anything about them', async () => {
    const { signal } = new AbortController()
    let policy = new Uint8Array()
    // Loading them needs more than this, and fails.
    const base = { clock: virtualClock() } as unknown as DeviceBase
    const home = (): Home => ({ members: { state: { policy } } }) as unknown as Home
    await using updates = createLateUpdates(base, home, signal)
    await updates.settled(signal)
    policy = Uint8Array.of(0xa0)
    await assert.rejects(updates.settled(signal), TypeError)
  })
})
