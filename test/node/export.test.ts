import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'

import { verifyFile } from '../../node/verify.ts'
import { folders, makeHome, startDevice } from '../helpers/device.ts'

const dirs = folders()
after(() => dirs[Symbol.asyncDispose]())

describe('an export of a device', () => {
  it('is verified without the device, whole, and for the time asked', async () => {
    await using device = await startDevice(await dirs.make(), {
      'telemetry.sensors': '*',
      'telemetry.interval': '1s',
      'telemetry.max_wait': '0ms',
    })
    await makeHome(device)
    const forever = new AbortController().signal
    for await (const reading of device.view.watch({}, forever)) if (reading.seq > 1) break
    const write = async (name: string, since?: number): Promise<string> => {
      const pieces: Uint8Array[] = []
      for await (const piece of device.view.exportLogs({ devices: [], since }, forever)) {
        pieces.push(piece)
      }
      const file = join(device.dir, name)
      await writeFile(file, Buffer.concat(pieces))
      return file
    }
    const file = await write('all.kith')
    const verdict = await verifyFile(file)
    const { id = '' } = (await device.view.status()).home ?? {}
    assert.deepEqual(
      [verdict.ok, verdict.complete, verdict.home, verdict.homeName, verdict.ops, verdict.gaps],
      [true, true, id, 'Oak Road', 1, 0],
    )
    const [log] = verdict.logs
    assert.ok(log !== undefined && log.packs >= 2 && log.readings >= log.packs)
    assert.deepEqual([log.role, log.from, log.to], ['owner', 1, log.packs])
    const none = await verifyFile(await write('none.kith', Date.now() + 3_600_000))
    assert.deepEqual([none.ok, none.packs, none.logs[0]?.to], [true, 0, 0])
    const bytes = await readFile(file)
    await writeFile(join(device.dir, 'cut.kith'), bytes.subarray(0, -1))
    assert.equal((await verifyFile(join(device.dir, 'cut.kith'))).complete, false)
  })

  it('of something else is refused as such', async () => {
    const dir = await dirs.make()
    const file = join(dir, 'x')
    for (const text of ['', 'hello', '\xa0']) {
      await writeFile(file, text, 'latin1')
      await assert.rejects(verifyFile(file), { code: 'NODE_USAGE' })
    }
    await assert.rejects(verifyFile(join(dir, 'nothing')), { code: 'NODE_NOT_FOUND' })
  })
})
