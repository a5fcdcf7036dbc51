/** One device of the demo: a real `kith up` in a process and a data folder of its own. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import type { Clock } from '../../env.ts'
import { NodeError } from '../../errors.ts'

export interface DemoDevice extends AsyncDisposable {
  readonly name: string
  readonly dataDir: string
  readonly socketPath: string
  readonly pid: number
  /** Settles when the process has ended, however it did. */
  readonly ended: Promise<void>
  /** The newest lines of its log, for when something went wrong. */
  lastLines(): string
}

export interface DemoDeviceOptions {
  readonly name: string
  /** Folder that holds one folder for each device. */
  readonly root: string
  /** Settings as `KITH_…` variables. */
  readonly env: Readonly<Record<string, string>>
  readonly clock: Clock
}

const KEPT_LINES = 20
/** A device that does not stop by itself within this is killed. */
const STOP_MS = 5_000

/** Extension of this file, so that a published package starts compiled files. */
const EXTENSION = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const CLI = fileURLToPath(new URL(`../main.${EXTENSION}`, import.meta.url))

/** Start the process. It may not answer yet. */
export async function startDevice(options: DemoDeviceOptions): Promise<DemoDevice> {
  const dataDir = join(options.root, options.name)
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const child = spawn(process.execPath, [...process.execArgv, CLI, 'up', '--data-dir', dataDir], {
    // The channel says nothing: it breaks when the demo is gone, however it went.
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: { ...process.env, ...options.env, KITH_DEVICE_NAME: options.name },
    // A process group of its own: Ctrl-C reaches the demo, and the demo stops its devices in order.
    detached: true,
  })
  const lines: string[] = []
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    lines.push(...text.split('\n').filter((line) => line !== ''))
    lines.splice(0, Math.max(0, lines.length - KEPT_LINES))
  })
  const ended = once(child, 'exit').then(() => undefined)
  const { pid } = child
  if (pid === undefined) {
    throw new NodeError('NODE_INTERNAL', `Could not start a process for ${options.name}.`)
  }
  return {
    name: options.name,
    dataDir,
    socketPath: join(dataDir, 'kith.sock'),
    pid,
    ended,
    lastLines: () => lines.join('\n'),
    [Symbol.asyncDispose]: () => stop(child, ended, options.clock),
  }
}

async function stop(child: ChildProcess, ended: Promise<void>, clock: Clock): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  const cancel = clock.timer(STOP_MS, () => child.kill('SIGKILL'))
  await ended
  cancel()
}
