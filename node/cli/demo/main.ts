/**
 * `npm start`: a home on this machine. Three real devices find each other over IPv6, pair, and
 * stream signed readings of this machine, shown in a live table. With `--once` it ends as soon as
 * every device's readings were verified by another; Ctrl-C ends it at any time. Either way nothing
 * stays behind, unless `--data-dir` names a folder to keep.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'

import type { Reading } from '../../api/view.ts'
import { systemClock } from '../../env.ts'
import { asError, EXIT, NODE_ERRORS, NodeError } from '../../errors.ts'
import { Scope } from '../../lifecycle.ts'
import { EXIT_INTERRUPTED } from '../context.ts'
import { parentGone } from '../parent.ts'
import { startHome, type DemoHome } from './home.ts'
import { spreadRelease, type Spread } from './release.ts'
import { createTable } from './table.ts'

const USAGE = `npm start -- [--once] [--json] [--data-dir DIR]

A home of three devices on this machine, with real discovery, pairing, a release that spreads, and
readings.

  --once          end by itself once every device's readings were verified by another
  --json          print one JSON document at the end, and nothing else, on standard output
  --data-dir DIR  keep the devices' data there; without it they live in a temporary folder
`

/** Longest wait for the first verified reading of every device, with --once. */
const ONCE_MS = 60_000
const REDRAW_MS = 1_000

interface Options {
  readonly once: boolean
  readonly json: boolean
  readonly dataDir: string | undefined
}

/** What --json prints. `update` is null where it was ended before one had spread. */
interface Summary {
  readonly devices: number
  readonly paired: number
  readonly readings: number
  readonly verified: number
  readonly update: Spread | null
  readonly ms: number
}

function parseOptions(): Options {
  const { values } = parseArgs({
    options: {
      once: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
      'data-dir': { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(USAGE)
    process.exit(EXIT.ok)
  }
  const dataDir =
    values['data-dir'] ?? process.env['KITH_DATA_DIR'] ?? (values.keep ? '.kith' : undefined)
  return { once: values.once, json: values.json, dataDir }
}

async function run(options: Options, scope: Scope): Promise<Summary> {
  const started = performance.now()
  const say = (line: string): void => {
    const out = options.json ? process.stderr : process.stdout
    out.write(`${line}\n`)
  }
  const root = await dataRoot(options, scope)
  const home = await startHome({ root, clock: systemClock, say }, scope)
  const { url } = await home.hub.client.dashboardLink()
  say(`The dashboard, for one visit in the next minutes:\n  ${url}`)
  const update = await spread(home, root, say, scope)
  say('Readings of this machine, signed by each device and verified by the hub:')
  const counts = await watch(home, options, scope)
  return {
    devices: 1 + home.others.length,
    paired: home.paired,
    ...counts,
    update,
    ms: Math.round(performance.now() - started),
  }
}

/** Publish something small on the hub, and wait until all have it. */
async function spread(
  home: DemoHome,
  root: string,
  say: (line: string) => void,
  { signal }: Scope,
): Promise<Spread> {
  say('The hub signs and publishes a small release …')
  const found = await spreadRelease(home, root, signal)
  say(`Version ${found.version} runs on every device; parts came from ${found.from.join(' and ')}.`)
  return found
}

/** The folder of the devices; a temporary one is removed when the devices have stopped. */
async function dataRoot({ dataDir }: Options, scope: Scope): Promise<string> {
  if (dataDir !== undefined) {
    const root = resolve(dataDir)
    await mkdir(root, { recursive: true, mode: 0o700 })
    return root
  }
  const root = await mkdtemp(join(tmpdir(), 'kith-'))
  await scope.use('temporary folder', () => ({
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  }))
  return root
}

/** Show readings until the scope ends or, with --once, until every device was heard. */
async function watch(
  home: DemoHome,
  { once, json }: Options,
  scope: Scope,
): Promise<{ readings: number; verified: number }> {
  const table = createTable(() => Date.now())
  const tally = createTally(home)
  const deadline = once ? AbortSignal.timeout(ONCE_MS) : scope.signal
  const stopDrawing = json || once ? () => undefined : drawEverySecond(table.lines)
  try {
    for await (const reading of readingsOf(home, AbortSignal.any([scope.signal, deadline]))) {
      tally.add(reading)
      table.add(reading)
      if (once && tally.complete()) break
    }
  } finally {
    stopDrawing()
  }
  if (once && deadline.aborted) throw neverHeard(home)
  if (once && !json) process.stdout.write(`${table.lines().join('\n')}\n`)
  return tally.counts
}

/** Ends quietly when `signal` aborts. */
async function* readingsOf({ hub }: DemoHome, signal: AbortSignal): AsyncGenerator<Reading> {
  try {
    yield* hub.client.watch({}, signal)
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

function neverHeard({ others }: DemoHome): NodeError {
  return new NodeError('NODE_TIMEOUT', 'No verified reading arrived from every device.', {
    hint: others.map(({ device }) => `${device.name}: ${device.lastLines()}`).join('\n'),
  })
}

/** Counts readings, and whether one of every device but the hub was verified. */
function createTally({ hub, others }: DemoHome) {
  const counts = { readings: 0, verified: 0 }
  const unheard = new Set(others.map(({ id }) => id))
  return {
    counts,
    complete: () => unheard.size === 0,
    add({ device, verified }: Reading) {
      counts.readings += 1
      if (!verified) return
      counts.verified += 1
      if (device !== hub.id) unheard.delete(device)
    },
  }
}

/** Redraw in place on a terminal; elsewhere print the table now and then. */
function drawEverySecond(lines: () => readonly string[]): () => void {
  const inPlace = process.stdout.isTTY
  let drawn = 0
  const draw = (): void => {
    const up = inPlace && drawn > 0 ? `\u001b[${drawn}A\u001b[J` : ''
    // More lines than the terminal has could not be drawn over.
    const now = inPlace ? lines().slice(0, Math.max(4, process.stdout.rows - 1)) : lines()
    drawn = now.length
    process.stdout.write(`${up}${now.join('\n')}\n`)
  }
  const timer = setInterval(draw, inPlace ? REDRAW_MS : 10 * REDRAW_MS)
  return () => clearInterval(timer)
}

/** Ctrl-C: the ordinary end, but not of a run that was to come to its end by itself. */
async function stopped({ once, dataDir }: Options, scope: Scope): Promise<number> {
  await scope[Symbol.asyncDispose]()
  const left = dataDir === undefined ? 'nothing is left behind' : `the data is in ${dataDir}`
  process.stderr.write(`All devices have stopped; ${left}.\n`)
  return once ? EXIT_INTERRUPTED : EXIT.ok
}

async function main(): Promise<number> {
  const scope = new Scope()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => void scope[Symbol.asyncDispose]())
  }
  parentGone().addEventListener('abort', () => void scope[Symbol.asyncDispose]())
  let options: Options
  try {
    options = parseOptions()
  } catch (error) {
    process.stderr.write(`${asError(error).message}\n\n${USAGE}`)
    return EXIT.usage
  }
  try {
    const summary = await run(options, scope)
    if (scope.signal.aborted) return await stopped(options, scope)
    if (options.json) process.stdout.write(`${JSON.stringify(summary)}\n`)
    return EXIT.ok
  } catch (error) {
    if (scope.signal.aborted) return await stopped(options, scope)
    const { message } = asError(error)
    const hint = error instanceof NodeError ? error.hint : undefined
    process.stderr.write(`${message}${hint === undefined ? '' : `\n${hint}`}\n`)
    return error instanceof NodeError ? NODE_ERRORS[error.code].exit : EXIT.failed
  } finally {
    await scope[Symbol.asyncDispose]()
  }
}

process.exitCode = await main()
