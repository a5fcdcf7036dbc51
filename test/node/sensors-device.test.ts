import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'

import type { Reading } from '../../node/api/view.ts'
import { folders, makeHome, startDevice, type Folders, type TestDevice } from '../helpers/device.ts'
import { kith } from '../helpers/kith-process.ts'

let made: Folders
beforeEach(() => {
  made = folders()
})
afterEach(() => made[Symbol.asyncDispose]())

/** The first live readings, one of each of `sensors`. */
async function firstOf({ view }: TestDevice, sensors: readonly string[]) {
  const found = new Map<string, Reading>()
  const stop = new AbortController()
  for await (const reading of view.watch({}, stop.signal)) {
    found.set(reading.sensor, reading)
    if (sensors.every((sensor) => found.has(sensor))) break
  }
  return sensors.map((sensor) => found.get(sensor))
}

describe('a device with sensors of its settings', () => {
  it('signs what they say, and shows which are broken', async () => {
    const dir = await made.make()
    const file = join(dir, 'value')
    await writeFile(file, '7\n')
    await writeFile(
      join(dir, 'config.toml'),
      [
        `[sensor.file]\ntype = "file"\npath = "${file}"\nunit = "V"\ninterval = "1s"`,
        `[sensor.broken]\ntype = "file"\npath = "${file}.none"`,
        '[sensor.program]\ntype = "command"\ncommand = ["/bin/echo", "8"]\ninterval = "1s"',
        '[sensor.pushed]\ntype = "push"\nunit = "Cel"\ndescription = "By hand"\n',
      ].join('\n'),
    )
    await using device = await startDevice(dir)
    await assert.rejects(device.view.push([{ sensor: 'pushed', value: 1 }]), {
      code: 'NODE_NO_HOME',
    })
    await makeHome(device)
    const heard = firstOf(device, ['file', 'program', 'pushed'])
    await device.view.push([{ sensor: 'pushed', value: '21.5' }])
    const rows = (await heard).map((row) => [row?.value, row?.unit, row?.verified])
    assert.deepEqual(rows, [
      [7, 'V', true],
      [8, '', true],
      [21.5, 'Cel', true],
    ])
    const sensors = await device.view.sensors()
    const row = (name: string) => sensors.find((sensor) => sensor.name === name)
    assert.deepEqual(
      [row('pushed')?.on, row('pushed')?.value, row('pushed')?.description],
      [true, 21.5, 'By hand'],
    )
    assert.match(row('broken')?.description ?? '', /\(.*value\.none is not there\)$/)
  })
})

describe('kith sensors push', () => {
  interface Up extends AsyncDisposable {
    readonly dir: string
  }

  /** A real device as a process of its own, in a home, with one sensor to push to. */
  async function up(): Promise<Up> {
    const dir = await made.make()
    await writeFile(
      join(dir, 'config.toml'),
      '[sensor.balcony]\ntype = "push"\ninterval = "10ms"\n',
    )
    const main = new URL('../../node/cli/main.ts', import.meta.url).pathname
    const child = spawn(process.execPath, [main, 'up'], {
      env: { PATH: process.env['PATH'], HOME: dir, KITH_DATA_DIR: dir, ...QUIET },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    child.stderr.setEncoding('utf8')
    // Leaving the loop closes the pipe, as a terminal that goes away does: the device goes on.
    for await (const text of child.stderr as AsyncIterable<string>) {
      if (text.includes('ready')) break
    }
    const home = await kith(
      ['home', 'create', 'Oak', '--recovery-out', join(dir, 'kit'), '--yes'],
      { dir },
    )
    assert.equal(home.code, 0, home.stderr)
    return {
      dir,
      async [Symbol.asyncDispose]() {
        const ended = new Promise((resolve) => child.once('exit', resolve))
        child.kill('SIGTERM')
        await ended
      },
    }
  }
  const QUIET = {
    KITH_MESH_PORT: '0',
    KITH_MESH_MULTICAST: 'false',
    KITH_API_DASHBOARD: 'false',
    KITH_LOG_FORMAT: 'json',
  }

  it('hands in values from its words and from JSON lines, and says what is wrong', async () => {
    await using device = await up()
    const { dir } = device
    const push = (args: readonly string[], input?: string) =>
      kith(['sensors', 'push', ...args], { dir, ...(input === undefined ? {} : { input }) })
    const words = await push(['balcony', '21.5'])
    assert.deepEqual([words.code, words.stdout], [0, 'One value taken.\n'])
    const lines = await push(
      ['--json'],
      '{"sensor":"balcony","value":22}\n\n{"sensor":"balcony","value":"23"}',
    )
    assert.deepEqual(lines.json(), { pushed: 2 })
    const { stdout } = await kith(['sensors', '--json'], { dir })
    const rows = JSON.parse(stdout) as { name: string; value: unknown }[]
    assert.equal(rows.find(({ name }) => name === 'balcony')?.value, 23)

    const wrong: readonly (readonly [readonly string[], string | undefined, number, RegExp])[] = [
      [['balcony'], undefined, 2, /has no value/],
      [['balcony', 'warm'], undefined, 2, /balcony: .*no number/],
      [['garden', '1'], undefined, 5, /takes values from programs/],
      [[], 'nonsense\n', 2, /Line 1 is not JSON/],
      [[], '{"sensor":"balcony","value":1}\n{"value":1}\n', 2, /Line 2 has no sensor/],
      [[], `{"sensor":"${'x'.repeat(2000)}`, 2, /longer than 1 KiB/],
    ]
    for (const [args, input, code, why] of wrong) {
      const run = await push(args, input)
      assert.match(run.stderr, why)
      assert.equal(run.code, code, run.stderr)
    }
  })
})
