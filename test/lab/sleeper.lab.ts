/*
 *      hub (eth0) ──┐
 *                   ├── switch "lan" ── (eth0) nap, which sleeps
 *      oak (eth0) ──┘
 *
 * Both powered devices keep the mail of the one that sleeps. Its windows are processes of their own,
 * `kith wake`, so that the test says when they open; at the end it runs by itself.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import type { CallView } from '../../node/api/view.ts'
import { needs } from '../helpers/tools.ts'
import { startLab, type Lab } from './devices.ts'

const CLI = fileURLToPath(new URL('../../node/cli/main.ts', import.meta.url))
const ONLINE_LIMIT_MS = 30_000
const LIMIT_MS = 20_000
/** With room for a machine that does other things too; it is some 600 ms on its own. */
const WAKE_LIMIT_MS = 10_000
/** From the change of the file; some 100 ms on a machine of its own. */
const ALARM_LIMIT_MS = 3000
const TIMEOUT = 6
const FAILED = 1

interface Summary {
  readonly outcome: string
  readonly ms: number
  readonly sent: number
  readonly received: number
  readonly packetsSent: number
  readonly calls: number
  readonly receipts: number
  readonly packs: number
  readonly parent: string
  readonly code?: string
}

describe('a device that sleeps', needs('namespaces'), () => {
  let lab: Lab
  let folder = ''
  const signal = AbortSignal.timeout(600_000)
  const rung = async (): Promise<string[]> =>
    (await readFile(path.join(folder, 'bell'), 'utf8')).split('\n').filter((line) => line !== '')

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'kith-bell-'))
    await writeFile(path.join(folder, 'bell'), '')
    await writeFile(path.join(folder, 'ring.sh'), 'echo "$1" >> "$2"\n')
    await writeFile(path.join(folder, 'hang.sh'), 'echo "$1" >> "$2"\nexec sleep 8\n')
    const action = (name: string): string => `
      [action.${name}]
      type = "command"
      command = ["/bin/sh", "${path.join(folder, name)}.sh", "{word}", "${path.join(folder, 'bell')}"]
      args = { word = { type = "string", max_length = 16 } }`
    lab = await startLab(
      { lan: ['hub', 'oak', 'nap'].map((device) => ({ device, interface: 'eth0' })) },
      {
        files: {
          nap: `
            [power]
            mode = "sleepy"
            period = "10s"
            window = "4s"
            wake_file = "${path.join(folder, 'alarm')}"
            [telemetry]
            sensors = ["load"]
            ${action('ring')}
            ${action('hang')}`,
        },
        settings: { nap: { 'telemetry.sensors': 'load' } },
      },
    )
    await lab.makeHome()
    await lab.online(['hub', 'oak'], ONLINE_LIMIT_MS)
    for (const name of ['hub', 'oak']) {
      await lab.until(`${name} knows that nap sleeps`, LIMIT_MS, async () => {
        return (await lab.row(name, 'nap'))?.state === 'asleep'
      })
    }
    await lab.device('nap').stop('SIGTERM')
    // Whom it knows as parents when it wakes next.
    assert.equal((await wake()).exit, 0)
  })
  after(async () => {
    await lab[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  /** `kith wake` in its own network; `onStart` gets the way to kill it. */
  async function wake(onStart?: (kill: () => void) => void): Promise<{
    readonly exit: number | null
    readonly found: Summary
  }> {
    const { dataDir } = lab.device('nap')
    const child = lab.world.spawn(
      'nap',
      [process.execPath, CLI, '--data-dir', dataDir, 'wake', '--json'],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    let text = ''
    child.stdout?.on('data', (bytes: Buffer) => (text += bytes.toString()))
    child.stderr?.on('data', (bytes: Buffer) => (text += bytes.toString()))
    onStart?.(() => child.kill('SIGKILL'))
    const [exit] = (await once(child, 'close')) as [number | null]
    const line = text.split('\n').findLast((one) => one.startsWith('{')) ?? '{}'
    return { exit, found: JSON.parse(line) as Summary }
  }

  const ring = (from: string, word: string, name = 'ring'): Promise<CallView> =>
    lab.device(from).api.invokeAction({ ref: 'nap', name }, { word }, { ttlMs: 600_000 }, signal)

  /** Wait until `from` has the receipt of its call. */
  const answered = (from: string, { id }: CallView): Promise<CallView> =>
    lab.until(`${from} has the receipt`, LIMIT_MS, async () => {
      const now = await lab.device(from).api.callById(id, {}, signal)
      return now.receipt === undefined ? undefined : now
    })

  /** Wait until two members keep the call. */
  const heldByTwo = (from: string, { id }: CallView): Promise<CallView> =>
    lab.until(`${from} knows of two holders`, LIMIT_MS, async () => {
      const now = await lab.device(from).api.callById(id, {}, signal)
      return now.state === 'held' && now.holders.length >= 2 ? now : undefined
    })

  it('executes in its first window what was called for while it slept', async () => {
    const call = await ring('hub', 'one')
    assert.ok((call.deliversBy ?? 0) > Date.now(), 'says by when')
    await heldByTwo('hub', call)
    assert.deepEqual(await rung(), [])
    const { exit, found } = await wake()
    assert.deepEqual([exit, found.outcome, found.calls, found.receipts], [0, 'done', 1, 1])
    assert.ok(found.ms < WAKE_LIMIT_MS && found.packs > 0)
    assert.ok(found.sent > 0 && found.received > 0 && found.packetsSent > 0)
    assert.deepEqual(await rung(), ['one'])
    assert.equal((await answered('hub', call)).receipt?.status, 'done')
  })

  it('gets its calls, once, though the device that called and kept them is gone', async () => {
    const call = await ring('hub', 'two')
    await heldByTwo('hub', call)
    await lab.device('hub').stop('SIGKILL')
    const { exit, found } = await wake()
    assert.deepEqual([exit, found.calls], [0, 1])
    await lab.device('hub').start()
    assert.equal((await answered('hub', call)).receipt?.status, 'done')
    assert.equal((await wake()).found.calls, 0)
    assert.deepEqual(await rung(), ['one', 'two'])
  })

  it('never does twice what it had begun when it was killed in its window', async () => {
    const call = await ring('hub', 'three', 'hang')
    await heldByTwo('hub', call)
    let kill = (): void => undefined
    const woken = wake((end) => (kill = end))
    await lab.until('it has begun', LIMIT_MS, async () => (await rung()).includes('three'))
    kill()
    assert.equal((await woken).exit, null)
    assert.equal((await wake()).exit, 0)
    const { receipt } = await answered('hub', call)
    assert.equal(receipt?.status, 'failed')
    assert.equal((await rung()).filter((word) => word === 'three').length, 1)
  })

  it('says that nobody answered, keeps what it measured, and is found again', async () => {
    await Promise.all(['hub', 'oak'].map((name) => lab.device(name).stop('SIGKILL')))
    const alone = await wake()
    assert.deepEqual([alone.exit, alone.found.code], [TIMEOUT, 'NODE_TIMEOUT'])
    await Promise.all(['hub', 'oak'].map((name) => lab.device(name).start()))
    const { exit, found } = await wake()
    assert.equal(exit, 0)
    assert.ok(found.packs >= 2, `${found.packs} packs`)
  })

  it('wakes at once for an alarm while it runs, and takes what waits', async () => {
    await lab.device('nap').start()
    assert.deepEqual([(await wake()).exit, (await wake()).found.code], [FAILED, 'NODE_LOCKED'])
    // It wakes every ten seconds by itself: begin when it has just gone to sleep again.
    const windows = (): number => lab.device('nap').logged(/window closed/).length
    const so = windows()
    await lab.until('it has slept', LIMIT_MS, async () => windows() > so)
    const call = await ring('hub', 'four')
    await heldByTwo('hub', call)
    assert.ok(!(await rung()).includes('four'))
    const startedMs = performance.now()
    await writeFile(path.join(folder, 'alarm'), 'door\n')
    await lab.until('the bell rings', LIMIT_MS, async () => (await rung()).includes('four'))
    assert.ok(performance.now() - startedMs < ALARM_LIMIT_MS)
    await lab.until('the window is told', LIMIT_MS, async () => {
      return lab.device('nap').logged(/"reason":"door","outcome":"done"/)[0]
    })
  })
})
