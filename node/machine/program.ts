/**
 * Other people's programs as child processes: an argument list and no shell, an empty environment,
 * bounds on time and output, and an end that takes what they started with them. A program that
 * leaves its process group on purpose gets away, but holds up nothing.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process'
import type { Readable } from 'node:stream'

import type { Clock } from '../env.ts'
import { createBudget } from './budget.ts'

export interface Program {
  /** A whole path, then arguments. */
  readonly argv: readonly string[]
  readonly clock: Clock
}

const MAX_OUTPUT_BYTES = 64 * 1024
/** What a program that runs on may print. */
const FLOOD = { bytes: 2 ** 20, windowMs: 10_000 }
/** After its end, for output that others of its making hold open. */
const LINGER_MS = 1000

type Child = ChildProcessByStdio<null, Readable, null>

/** All that the program prints. @throws Error where it fails, prints too much or takes too long */
export async function outputOf(
  { argv, clock }: Program,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  await runProgram({ argv, clock }, { timeoutMs, signal }, (chunk) => {
    bytes += chunk.length
    if (bytes > MAX_OUTPUT_BYTES) throw new Error('the program prints more than 64 KiB')
    chunks.push(chunk)
  })
  return Buffer.concat(chunks).toString('utf8')
}

/**
 * Every line the program prints, until it ends or `signal` aborts. `timeoutMs`: the longest time
 * without a line. @throws Error also where a line or all of it in ten seconds is too much
 */
export async function linesOf(
  { argv, clock }: Program,
  { timeoutMs, signal }: { readonly timeoutMs: number | undefined; readonly signal: AbortSignal },
  onLine: (line: string) => void,
): Promise<void> {
  const budget = createBudget(FLOOD, clock)
  let rest = Buffer.alloc(0)
  await runProgram({ argv, clock }, { timeoutMs, signal, lively: true }, (chunk) => {
    if (!budget.take(chunk.length)) throw new Error('the program prints more than 1 MiB in 10 s')
    let from = 0
    const all = Buffer.concat([rest, chunk])
    for (let end = all.indexOf(10); end >= 0; end = all.indexOf(10, from)) {
      onLine(all.toString('utf8', from, end))
      from = end + 1
    }
    rest = Buffer.from(all.subarray(from))
    if (rest.length > MAX_OUTPUT_BYTES) throw new Error('the program prints a line above 64 KiB')
  })
}

export interface Held extends AsyncDisposable {
  /** Why it ended, where nobody asked it to. */
  readonly gone: Promise<Error>
}

/**
 * A program that is to run on. Resolves with its first output, or after `settleMs` without an end.
 *
 * @throws Error where it ends before that
 */
export async function holdProgram(
  { argv, clock }: Program,
  { settleMs }: { readonly settleMs: number },
  signal: AbortSignal,
): Promise<Held> {
  signal.throwIfAborted()
  const stop = new AbortController()
  const settled = Promise.withResolvers<void>()
  const forever = { timeoutMs: undefined, signal: stop.signal }
  const ended = runProgram({ argv, clock }, forever, () => settled.resolve()).then(
    () => new Error('the program ended'),
    (error: unknown) => error as Error,
  )
  const cancel = clock.timer(settleMs, () => settled.resolve())
  const abort = (): void => settled.reject(signal.reason as Error)
  signal.addEventListener('abort', abort, { once: true })
  void ended.then((error) => settled.reject(error))
  const end = async (): Promise<void> => {
    stop.abort(new Error('not needed any more'))
    await ended
  }
  try {
    await settled.promise
  } catch (error) {
    await end()
    throw error
  } finally {
    cancel()
    signal.removeEventListener('abort', abort)
  }
  return { gone: ended, [Symbol.asyncDispose]: end }
}

interface Limits {
  readonly timeoutMs: number | undefined
  readonly signal: AbortSignal
  /** Output starts the time anew. */
  readonly lively?: boolean
}

/** Resolves where it ended with 0; nothing of its group runs on afterwards. */
function runProgram(
  { argv, clock }: Program,
  { timeoutMs, signal, lively = false }: Limits,
  onOutput: (chunk: Buffer) => void,
): Promise<void> {
  signal.throwIfAborted()
  const child = start(argv)
  return new Promise((resolve, reject) => {
    let failure: Error | undefined
    let cancelTimer = (): void => undefined
    const fail = (error: Error): void => {
      failure ??= error
      endGroup(child)
    }
    const watch = (): void => {
      cancelTimer()
      if (timeoutMs === undefined) return
      const why = lively ? 'printed nothing for' : 'took longer than'
      cancelTimer = clock.timer(timeoutMs, () =>
        fail(new Error(`the program ${why} ${timeoutMs / 1000} s`)),
      )
    }
    const stop = (): void => fail(signal.reason as Error)
    watch()
    signal.addEventListener('abort', stop, { once: true })
    child.stdout.on('data', (chunk: Buffer) => {
      if (failure !== undefined) return
      if (lively) watch()
      try {
        onOutput(chunk)
      } catch (error) {
        fail(error as Error)
      }
    })
    child.stdout.on('error', fail)
    child.once('error', (error: NodeJS.ErrnoException) => {
      failure ??= new Error(`the program cannot be started (${error.code ?? error.message})`)
      if (child.pid === undefined) child.stdout.destroy()
    })
    child.once('exit', (code, killed) => {
      if (code !== 0)
        failure ??= new Error(
          `the program ended ${code === null ? `by ${killed}` : `with ${code}`}`,
        )
      endGroup(child)
      clock.timer(LINGER_MS, () => child.stdout.destroy())
    })
    child.once('close', () => {
      cancelTimer()
      signal.removeEventListener('abort', stop)
      if (failure === undefined) resolve()
      else reject(failure)
    })
  })
}

function start([program = '', ...args]: readonly string[]): Child {
  return spawn(program, args, {
    cwd: '/',
    env: {},
    // A process group of its own, so that it ends as a whole.
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
}

function endGroup({ pid }: Child): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // Nobody of the group is left.
  }
}
