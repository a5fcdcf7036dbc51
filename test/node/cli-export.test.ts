import assert from 'node:assert/strict'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'

import { startApi } from '../../node/api/server.ts'
import type { NodeView } from '../../node/api/view.ts'
import { systemClock } from '../../node/env.ts'
import { createLogger } from '../../node/log.ts'
import { folders, makeHome, startDevice } from '../helpers/device.ts'
import { fakeView } from '../helpers/fake-view.ts'
import { kith } from '../helpers/kith-process.ts'
import { seededRandom } from '../helpers/random.ts'
import { verifyIndependently } from '../independent/verify-export.ts'

const dirs = folders()
after(() => dirs[Symbol.asyncDispose]())

function serve(view: NodeView, dir: string) {
  return startApi(
    view,
    {
      socketPath: join(dir, 'kith.sock'),
      port: 0,
      version: '1.2.3',
      clock: systemClock,
      random: seededRandom('cli'),
      log: createLogger({ level: 'silent', format: 'json', out: { write: () => true } }),
    },
    new AbortController().signal,
  )
}

describe('kith export and kith verify', () => {
  it('write a private file and check it without a device, as does a second verifier', async () => {
    const dir = await dirs.make()
    const file = join(dir, 'kitchen.kith')
    {
      await using device = await startDevice(dir, {
        'telemetry.sensors': '*',
        'telemetry.interval': '1s',
        'telemetry.max_wait': '0ms',
      })
      await makeHome(device)
      await using api = await serve(device.view, dir)
      void api
      for await (const { seq } of device.view.watch({}, new AbortController().signal)) {
        if (seq > 1) break
      }
      const made = await kith(['export', 'kitchen', '-o', file, '--json'], { dir })
      assert.deepEqual([made.code, made.json()['file']], [0, file], made.stderr)
      assert.equal((await kith(['export', '-o', file], { dir })).code, 2, 'never replaced')
      assert.equal((await kith(['export', 'nobody', '-o', `${file}2`], { dir })).code, 5)
      await assert.rejects(stat(`${file}2`), { code: 'ENOENT' })
    }
    assert.equal((await stat(file)).mode & 0o777, 0o600)
    const good = await kith(['verify', file, '--json'])
    const { ok, packs, home } = good.json()
    assert.deepEqual([good.code, ok], [0, true], good.stderr)
    const bytes = await readFile(file)
    const second = await verifyIndependently(bytes)
    assert.deepEqual([second.ok, second.packs], [true, packs])
    assert.match((await kith(['verify', file, '--home', String(home)])).stdout, /^OK: \d+ readings/)
    assert.equal((await kith(['verify', file, '--home', 'bxxxxxxxxxxxx'])).code, 2)

    bytes[bytes.length - 60] = (bytes[bytes.length - 60] ?? 0) ^ 1
    await writeFile(file, bytes)
    const bad = await kith(['verify', file])
    assert.equal(bad.code, 1)
    assert.match(bad.stdout, /^NOT OK: /)
  })

  it('leave no file behind where the device breaks off', async () => {
    const dir = await dirs.make()
    const view = fakeView({
      async *exportLogs() {
        yield new Uint8Array(200_000)
        throw new Error('the disk broke')
      },
    })
    await using api = await serve(view, dir)
    void api
    const file = join(dir, 'x.kith')
    assert.notEqual((await kith(['export', '-o', file], { dir })).code, 0)
    await assert.rejects(stat(file), { code: 'ENOENT' })
  })
})

describe('kith trust', () => {
  it('alarms in the list of devices, and trusts again only after a yes', async () => {
    const dir = await dirs.make()
    const plain = fakeView()
    const rows = (await plain.devices()).map((row) => ({
      ...row,
      quarantined: row.name === 'garden',
    }))
    const view = fakeView({ devices: async () => rows })
    await using api = await serve(view, dir)
    void api
    assert.match((await kith(['devices'], { dir })).stderr, /^ALARM: garden signed two histories/)
    assert.equal((await kith(['trust', 'garden'], { dir })).code, 2)
    assert.ok(!view.asked.some(([name]) => name === 'trust'))
    assert.equal((await kith(['trust', 'garden', '-y'], { dir })).code, 0)
    assert.deepEqual(view.asked.at(-1), ['trust', '12D3KooWgarden'])
  })
})
