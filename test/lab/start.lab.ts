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
import { until } from './until.ts'

const DEMO = fileURLToPath(new URL('../../node/cli/demo/main.ts', import.meta.url))
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const RUN_LIMIT_MS = 60_000

interface Running {
  readonly pid: number
  readonly command: string
}

/** Processes that were started with this folder for temporary files. */
async function processesOf(temporary: string): Promise<Running[]> {
  const found: Running[] = []
  for (const name of (await readdir('/proc')).filter((one) => /^[0-9]+$/.test(one))) {
    const read = (file: string): Promise<string> =>
      readFile(`/proc/${name}/${file}`, 'utf8').catch(() => '')
    const [environment, command] = [await read('environ'), await read('cmdline')]
    if (!environment.split('\0').includes(`TMPDIR=${temporary}`)) continue
    found.push({ pid: Number(name), command: command.replaceAll('\0', ' ') })
  }
  return found
}

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

  for (const [whom, victim] of [
    ['the demo', /demo.main\.ts/],
    ['what npm runs', /with-node\.mjs/],
    ['npm', /^npm/],
  ] as const) {
    it(`leaves no process behind where ${whom} is killed`, async () => {
      const npm = world.spawn('fig', ['npm', 'start', '--prefix', ROOT, '--', '--json'], {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, TMPDIR: path.join(folder, 'tmp') },
      })
      assert.ok(npm.stdout && npm.stderr)
      const said: string[] = []
      const shown = new Promise<void>((resolve) => {
        createInterface({ input: npm.stderr ?? process.stdin }).on('line', (line) => {
          said.push(line)
          if (/verified by the hub/.test(line)) resolve()
        })
      })
      const limit = setTimeout(() => npm.kill('SIGKILL'), RUN_LIMIT_MS)
      await shown
      clearTimeout(limit)
      const mine = await processesOf(path.join(folder, 'tmp'))
      const [killed] = mine.filter(({ command }) => victim.test(command)).map(({ pid }) => pid)
      assert.ok(killed !== undefined, mine.map(({ command }) => command).join('\n'))
      assert.ok(mine.length >= 5, 'all of it is seen')
      process.kill(killed, 'SIGKILL')
      await until('nothing of it runs', RUN_LIMIT_MS, async () => {
        const left = await processesOf(path.join(folder, 'tmp'))
        if (left.length > 0) throw new Error(left.map(({ command }) => command).join('\n'))
        return true
      })
      // A demo that was killed leaves its folder; nobody is there to remove it.
      await rm(path.join(folder, 'tmp'), { recursive: true, force: true })
      await mkdir(path.join(folder, 'tmp'))
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
