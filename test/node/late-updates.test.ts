import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'

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
})
