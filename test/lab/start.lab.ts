/*
 *      fig (eth0) ── switch "lan"          nobody else there; then no network but loopback
 *
 * `npm start`: a home of three devices on one machine, and nothing of it left behind.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { needs } from '../helpers/tools.ts'
import { startWorld, type World } from './netns.ts'

const DEMO = fileURLToPath(new URL('../../node/cli/demo/main.ts', import.meta.url))
const RUN_LIMIT_MS = 60_000

interface Summary {
  readonly devices: number
  readonly paired: number
  readonly readings: number
  readonly verified: number
}

interface Ran {
  readonly code: number | null
  readonly out: string
  /** What it said while it ran. */
  readonly said: string
}

describe('npm start', needs('namespaces'), () => {
  let world: World
  let folder = ''

  before(async () => {
    world = await startWorld({ lan: [{ device: 'fig', interface: 'eth0' }] })
    folder = await mkdtemp(path.join(tmpdir(), 'kith-start-'))
    await mkdir(path.join(folder, 'tmp'))
  })
  after(async () => {
    await world[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  /** The demo to its end; `interruptAt` sends what Ctrl-C sends when a line matches. */
  async function demo(args: readonly string[], interruptAt?: RegExp): Promise<Ran> {
    const child = world.spawn('fig', [process.execPath, DEMO, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, TMPDIR: path.join(folder, 'tmp') },
    })
    assert.ok(child.stdout && child.stderr)
    const limit = setTimeout(() => child.kill('SIGKILL'), RUN_LIMIT_MS)
    const ended = once(child, 'exit')
    const said: string[] = []
    createInterface({ input: child.stderr }).on('line', (line) => {
      said.push(line)
      if (interruptAt?.test(line) === true) child.kill('SIGINT')
    })
    const out = await text(child.stdout)
    const [code] = (await ended) as [number | null]
    clearTimeout(limit)
    return { code, out, said: said.join('\n') }
  }

  /** Processes that hold a path of this lab in their command line, and folders that were made. */
  async function leftOver(): Promise<string[]> {
    const pids = (await readdir('/proc')).filter((name) => /^[0-9]+$/.test(name))
    const commands = await Promise.all(
      pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
    )
    const folders = await readdir(path.join(folder, 'tmp'))
    return [...commands.filter((command) => command.includes(folder)), ...folders]
  }

  function summaryOf({ code, out, said }: Ran): Summary {
    assert.equal(code, 0, said)
    return JSON.parse(out) as Summary
  }

  it('pairs three devices over multicast and shows their verified readings', async () => {
    const ran = await demo(['--once', '--json'])
    const { devices, paired, readings, verified } = summaryOf(ran)
    assert.deepEqual({ devices, paired }, { devices: 3, paired: 2 })
    assert.ok(verified >= 2 && verified === readings)
    assert.doesNotMatch(ran.said, /direct addresses/)
    assert.deepEqual(await leftOver(), [])
  })

  it('keeps a home in --data-dir and finds it there again', async () => {
    const args = ['--once', '--json', '--data-dir', path.join(folder, 'kept')]
    assert.equal(summaryOf(await demo(args)).paired, 2)
    const again = summaryOf(await demo(args))
    assert.equal(again.paired, 0)
    assert.ok(again.verified >= 2)
    assert.deepEqual(await leftOver(), [])
  })

  for (const [when, line] of [
    ['while the devices start', /Starting/],
    ['while two of them pair', /shows the code/],
    ['while readings are shown', /verified by the hub/],
  ] as const) {
    it(`leaves nothing behind where it is interrupted ${when}`, async () => {
      const { code, said } = await demo(['--json'], line)
      assert.match(said, line)
      assert.equal(code, 0, said)
      assert.deepEqual(await leftOver(), [])
    })
  }

  it('says aloud that it does without multicast, and pairs and verifies all the same', async () => {
    await world.setLink('fig', 'eth0', 'down')
    const ran = await demo(['--once', '--json'])
    const { devices, paired, verified } = summaryOf(ran)
    assert.match(ran.said, /no network interface that carries multicast: using direct addresses/)
    assert.deepEqual({ devices, paired }, { devices: 3, paired: 2 })
    assert.ok(verified >= 2)
    assert.deepEqual(await leftOver(), [])
  })
})
