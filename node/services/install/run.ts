/**
 * Programs that install and restart: an argument list and no shell, a small environment, a time
 * limit, and the end of what they print kept for people. Unlike a sensor's program, one that ends
 * well may leave others running: that is what a restart is for.
 */
import { spawn } from 'node:child_process'

import type { Clock } from '../../env.ts'
import { InstallError } from './errors.ts'

export interface Run {
  readonly argv: readonly string[]
  readonly clock: Clock
  readonly timeoutMs: number
  readonly signal: AbortSignal
  readonly input?: string | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
}

const MAX_OUTPUT_BYTES = 1024 * 1024
/** After its end, for output that others of its making hold open. */
const LINGER_MS = 200
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** What it printed. @throws InstallError INSTALL_PROGRAM with its last words; all are its cause */
export function runProgram({ argv, clock, timeoutMs, signal, input, env }: Run): Promise<string> {
  signal.throwIfAborted()
  const [program = '', ...args] = argv
  const child = spawn(program, args, {
    cwd: '/',
    env: { PATH, LC_ALL: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive', ...env },
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  return new Promise((resolve, reject) => {
    const out = tail()
    const errors = tail()
    let failure: Error | undefined
    const stop = (why: Error): void => {
      failure ??= why
      endGroup(child.pid)
    }
    const aborted = (): void => stop(signal.reason as Error)
    const cancel = clock.timer(timeoutMs, () =>
      stop(failed(argv, `took longer than ${timeoutMs / 1000} s`)),
    )
    signal.addEventListener('abort', aborted, { once: true })
    child.stdout.on('data', out.add)
    child.stderr.on('data', errors.add)
    // One that does not read what it is told.
    child.stdin.on('error', () => undefined)
    child.stdin.end(input ?? '')
    child.once('error', (error: NodeJS.ErrnoException) => {
      failure ??= failed(argv, `cannot be started (${error.code ?? error.message})`)
      if (child.pid === undefined) end()
    })
    child.once('exit', (code, killed) => {
      const how = code === null ? `ended by ${killed}` : `ended with ${code}`
      const said = lastLine(errors.text()) ?? lastLine(out.text())
      if (code !== 0) {
        const all = new Error(`${out.text()}\n${errors.text()}`)
        failure ??= failed(argv, said === undefined ? how : `${how}: ${said}`, all)
      }
      clock.timer(LINGER_MS, () => {
        child.stdout.destroy()
        child.stderr.destroy()
      })
    })
    child.once('close', end)
    function end(): void {
      cancel()
      signal.removeEventListener('abort', aborted)
      if (failure === undefined) resolve(out.text())
      else reject(failure)
    }
  })
}

function failed([program = '']: readonly string[], how: string, all?: Error): InstallError {
  return new InstallError('INSTALL_PROGRAM', `${program} ${how}`, { cause: all })
}

/** The last MiB of what is added. */
function tail(): { add: (chunk: Buffer) => void; text: () => string } {
  let chunks: Buffer[] = []
  let bytes = 0
  return {
    add(chunk) {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes < 2 * MAX_OUTPUT_BYTES) return
      chunks = [Buffer.concat(chunks).subarray(-MAX_OUTPUT_BYTES)]
      bytes = MAX_OUTPUT_BYTES
    },
    text: () => Buffer.concat(chunks).subarray(-MAX_OUTPUT_BYTES).toString('utf8'),
  }
}

function lastLine(text: string): string | undefined {
  // Control characters could rewrite a person's terminal.
  return (
    text
      .replaceAll(/[^\P{Cc}\n]/gu, ' ')
      .trim()
      .split('\n')
      .at(-1)
      ?.trim()
      .slice(0, 200) || undefined
  )
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // Nobody of the group is left.
  }
}

/** Words of a command in an argument of a release: split at blanks, no quotes, no shell. */
export function wordsOf(command: string): string[] {
  return command.split(/\s+/).filter((word) => word !== '')
}

const UNIT = /^[A-Za-z0-9][A-Za-z0-9:_.@-]{0,120}\.service$/

export interface Restart {
  readonly unit?: string | undefined
  readonly command?: readonly string[] | undefined
}

/**
 * How a program is started anew: what this device was told, or the release says; undefined where it
 * sees a new version by itself.
 *
 * @throws InstallError INSTALL_ARGUMENTS
 */
export function restartOf(
  args: Readonly<Record<string, string>>,
  here: Restart | undefined,
): readonly string[] | undefined {
  const { unit, command } = here ?? {
    unit: args['unit'],
    command: args['restart'] === undefined ? undefined : wordsOf(args['restart']),
  }
  if (command !== undefined) {
    if (command[0]?.startsWith('/') !== true) {
      throw new InstallError(
        'INSTALL_ARGUMENTS',
        'a command to restart with begins with a whole path',
      )
    }
    return command
  }
  if (unit === undefined) return undefined
  if (!UNIT.test(unit))
    throw new InstallError('INSTALL_ARGUMENTS', `${JSON.stringify(unit)} is no name of a service`)
  return ['systemctl', 'restart', '--', unit]
}
