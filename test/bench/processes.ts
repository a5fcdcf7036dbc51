/** Processes that a benchmark measures: started, talked to over IPC, looked at in /proc, stopped. */
import { execFileSync, spawn, type ChildProcess, type StdioOptions } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import process from 'node:process'

export interface Measured extends AsyncDisposable {
  readonly pid: number
  /** `performance.now()` just before the process was made. */
  readonly startedMs: number
  /** The next message whose `type` this is; one that came already counts. */
  next<T = Readonly<Record<string, unknown>>>(type: string): Promise<T>
  send(message: Readonly<Record<string, unknown>>): void
}

interface Told {
  readonly type: string
}

const STOP_WITHIN_MS = 10_000
const ANSWER_WITHIN_MS = 120_000

/** What a process is started with that is to be talked to. */
export const WITH_MESSAGES: StdioOptions = ['ignore', 'inherit', 'inherit', 'ipc']

/** `node ...args`, with a channel for messages. What it logs goes to our standard error. */
export function startProcess(args: readonly string[], env: NodeJS.ProcessEnv = {}): Measured {
  const startedMs = performance.now()
  const child = spawn(process.execPath, args, {
    stdio: WITH_MESSAGES,
    env: { ...process.env, ...env },
  })
  return measured(child, args.join(' '), startedMs)
}

/** A process that was started with `WITH_MESSAGES`. */
export function measured(
  child: ChildProcess,
  name: string,
  startedMs = performance.now(),
): Measured {
  const told: Told[] = []
  let wake = (): void => undefined
  child.on('message', (message) => {
    told.push(message as Told)
    wake()
  })
  child.once('exit', () => wake())
  return {
    pid: child.pid ?? 0,
    startedMs,
    async next<T>(type: string): Promise<T> {
      const late = AbortSignal.timeout(ANSWER_WITHIN_MS)
      late.addEventListener('abort', () => wake(), { once: true })
      for (;;) {
        const at = told.findIndex((message) => message.type === type)
        if (at >= 0) return told.splice(at, 1)[0] as T
        if (isGone(child) || late.aborted) throw new Error(`${name}: no ${type}`)
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    },
    send: (message) => void child.send(message),
    [Symbol.asyncDispose]: () => stop(child),
  }
}

function isGone(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

async function stop(child: ChildProcess): Promise<void> {
  if (isGone(child)) return
  const gone = once(child, 'exit')
  const force = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS)
  child.kill('SIGTERM')
  await gone
  clearTimeout(force)
}

/** Resident and proportional memory in bytes (proc_pid_smaps_rollup(5)). */
export function memoryOf(pid: number): { readonly rss: number; readonly pss: number } {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1')
  const bytes = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1]) * 1024
  return { rss: bytes('Rss'), pss: bytes('Pss') }
}

export interface Effort {
  /** Processor time since the start, user and system, in ms. */
  readonly cpuMs: number
  /** Times that the main thread waited and was woken. */
  readonly mainWakes: number
  /** The same for all threads. */
  readonly wakes: number
}

/** Fields 14 and 15 of proc_pid_stat(5), and voluntary context switches of each thread. */
export function effortOf(pid: number): Effort {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ticks = Number(fields[11]) + Number(fields[12])
  const switches = readdirSync(`/proc/${pid}/task`).map((thread) => {
    const text = readFileSync(`/proc/${pid}/task/${thread}/status`, 'latin1')
    const count = Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(text)?.[1])
    return { main: thread === String(pid), count }
  })
  return {
    cpuMs: (ticks * 1000) / TICKS_PER_SECOND,
    mainWakes: switches.find(({ main }) => main)?.count ?? 0,
    wakes: switches.reduce((sum, { count }) => sum + count, 0),
  }
}

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'latin1' }))
