/** `kith backup` and `kith restore` as real processes, also killed at random moments. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { after, describe, it } from 'node:test'
import { setTimeout as moment } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import { folders, makeHome, startDevice } from '../helpers/device.ts'
import { kith } from '../helpers/kith-process.ts'
import { seededRandom } from '../helpers/random.ts'

const MAIN = fileURLToPath(new URL('../../node/cli/main.ts', import.meta.url))
const SEED = process.env['KITH_SEED'] ?? 'backup'
const forever = new AbortController().signal
const dirs = folders()
after(() => dirs[Symbol.asyncDispose]())

/** A device with a home and some readings, which does not run. */
async function stoppedDevice(): Promise<{ readonly dir: string; readonly id: string }> {
  const dir = await dirs.make()
  await using device = await startDevice(dir, {
    'telemetry.sensors': '*',
    'telemetry.interval': '1s',
    'telemetry.max_wait': '0ms',
  })
  await makeHome(device)
  for await (const { seq } of device.view.watch({}, forever)) if (seq > 1) break
  return { dir, id: (await device.view.status()).device.id }
}

interface Up extends AsyncDisposable {
  readonly dir: string
}

async function up(dir: string): Promise<Up> {
  const child = spawn(process.execPath, [MAIN, 'up', '--data-dir', dir], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      HOME: dir,
      KITH_API_DASHBOARD: 'false',
      KITH_LOG_FORMAT: 'json',
      KITH_MESH_PORT: '0',
      KITH_MESH_MULTICAST: 'false',
    },
  })
  const ended = once(child, 'exit')
  for await (const line of createInterface({ input: child.stderr })) {
    if (line.includes('"ready"')) break
  }
  child.stderr.resume()
  return {
    dir,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await ended
    },
  }
}

describe('kith backup and kith restore', () => {
  it('take a device to another folder, whether it runs or not', async () => {
    const { dir, id } = await stoppedDevice()
    const [still, live] = [join(dir, 'still.kith'), join(dir, 'live.kith')]
    const first = await kith(['backup', still, '--json'], { dir })
    assert.deepEqual([first.code, first.json()['file']], [0, still], first.stderr)
    assert.equal((await kith(['backup', still], { dir })).code, 2, 'never replaced')
    {
      await using device = await up(dir)
      const second = await kith(['backup', live], { dir: device.dir })
      assert.equal(second.code, 0, second.stderr)
      assert.match(second.stdout, /^Wrote .*live\.kith \(\d+\.\d MiB\)\. The key/)
      const into = await kith(['restore', live], { dir: device.dir })
      assert.equal(into.code, 1, 'never over a device')
      assert.match(into.stderr, /is not empty/)
    }
    for (const file of [still, live]) {
      assert.equal((await stat(file)).mode & 0o777, 0o600)
      const to = join(await dirs.make(), 'new')
      const made = await kith(['restore', file, '--json'], { dir: to })
      assert.equal(made.code, 0, made.stderr)
      const { home, homeName, device, from, packs, dataDir } = made.json()
      assert.equal(typeof home, 'string')
      assert.deepEqual([homeName, dataDir], ['Oak Road', to])
      assert.deepEqual(from, { device: id, name: 'kitchen' })
      assert.ok(Number(packs) >= 2)
      await using restored = await up(to)
      const status = (await kith(['status', '--json'], { dir: restored.dir })).json()
      assert.equal((status['device'] as { id: string }).id, device)
      const past = await kith(['history', 'kitchen', '--json'], { dir: restored.dir })
      assert.equal(past.code, 0, past.stderr)
      assert.ok(past.stdout.includes('"verified":true'))
    }
  })

  it('say what to do next, and what was wrong', async () => {
    const { dir } = await stoppedDevice()
    const file = join(dir, 'b.kith')
    await kith(['backup', file], { dir })
    const to = join(await dirs.make(), 'new')
    const made = await kith(['restore', file], { dir: to })
    assert.match(
      made.stdout,
      /^Restored kitchen as of .* with \d+ packs of readings and a new key\./,
    )
    assert.match(made.stdout, /kith pair.*kith add/)
    assert.match(made.stdout, /kith remove kitchen/)
    const none = join(await dirs.make(), 'none')
    assert.equal((await kith(['restore', join(dir, 'no.kith')], { dir: none })).code, 2)
    assert.equal((await kith(['backup', join(dir, 'x')], { dir: none })).code, 3)
    assert.equal(existsSync(join(dir, 'x')), false)
    await writeFile(join(dir, 'junk'), 'junk')
    const junk = await kith(['restore', join(dir, 'junk')], { dir: none })
    assert.match(junk.stderr, /no backup of Kith/)
    assert.equal(existsSync(none), false)
  })

  it('killed at any moment leave all of it or nothing', async (t) => {
    t.diagnostic(`seed ${SEED}`)
    const random = seededRandom(SEED)
    const { dir } = await stoppedDevice()
    const whole = join(dir, 'whole.kith')
    await kith(['backup', whole], { dir })
    const size = (await readFile(whole)).length
    const to = join(await dirs.make(), 'new')
    const began = performance.now()
    await kith(['restore', whole], { dir: join(await dirs.make(), 'timed') })
    const tookMs = performance.now() - began
    const killed = async (args: readonly string[], at: string): Promise<void> => {
      const child = spawn(process.execPath, [MAIN, ...args, '--data-dir', at], { stdio: 'ignore' })
      const ended = once(child, 'exit')
      const [a = 0] = random.bytes(1)
      // Towards its end: most of the time passes before anything happens.
      await moment(tookMs * (0.4 + (0.6 * a) / 255))
      child.kill('SIGKILL')
      await ended
    }
    for (let round = 0; round < 6; round++) {
      const file = join(dir, `${round}.kith`)
      await killed(['backup', file], dir)
      if (existsSync(file)) assert.ok(Math.abs((await readFile(file)).length - size) < 4096)
      await killed(['restore', whole], to)
      if (existsSync(to)) break
    }
    if (!existsSync(to)) assert.equal((await kith(['restore', whole], { dir: to })).code, 0)
    assert.deepEqual((await readdir(to)).toSorted(), ['identity.key', 'kith.db', 'kith.lock'])
    await using device = await startDevice(to)
    assert.equal((await device.view.status()).home?.name, 'Oak Road')
  })
})
