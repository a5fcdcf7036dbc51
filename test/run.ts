/**
 * Runs the suite with Node's test runner: all `*.test.ts`, then the labs, two files at a time, with
 * one summary over both. It looks for files itself, so that a run over nothing fails.
 * It is not a test framework: every file also runs alone, with `node --test FILE`.
 *
 *   test/run.ts [--meta | --lab] [--name PATTERN] [PART-OF-A-PATH…]
 */
import { globSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const FOLDERS = ['meta', 'protocols', 'node', 'gateway', 'e2e', 'sim', 'fuzz']

/** No test may take longer; no run may take longer. */
const TEST_LIMIT_MS = 180_000
const LAB_LIMIT_MS = 300_000
const RUN_LIMIT_MS = 40 * 60_000

interface Phase {
  readonly files: readonly string[]
  readonly concurrency: number
  readonly timeoutMs: number
}

interface Skipped {
  readonly name: string
  readonly why: string
}

type Event = { readonly type: string; readonly data: Readonly<Record<string, unknown>> }

/** @throws TypeError on an option that does not exist */
function options(): { meta: boolean; lab: boolean; name: string | undefined; filters: string[] } {
  const { values, positionals } = parseArgs({
    options: {
      meta: { type: 'boolean', default: false },
      lab: { type: 'boolean', default: false },
      name: { type: 'string' },
    },
    allowPositionals: true,
  })
  return { meta: values.meta, lab: values.lab, name: values.name, filters: positionals }
}

function find(patterns: readonly string[], filters: readonly string[]): string[] {
  return patterns
    .flatMap((pattern) => globSync(pattern, { cwd: ROOT }))
    .filter((file) => filters.length === 0 || filters.some((part) => file.includes(part)))
    .toSorted()
    .map((file) => path.join(ROOT, file))
}

function phases(choice: ReturnType<typeof options>): Phase[] {
  const folders = choice.meta ? ['meta'] : FOLDERS
  const tests = choice.lab ? [] : folders.map((folder) => `test/${folder}/**/*.test.ts`)
  const labs = choice.meta ? [] : ['test/lab/**/*.lab.ts']
  const two = Math.min(2, availableParallelism())
  return [
    { files: find(tests, choice.filters), concurrency: two, timeoutMs: TEST_LIMIT_MS },
    { files: find(labs, choice.filters), concurrency: two, timeoutMs: LAB_LIMIT_MS },
  ].filter(({ files }) => files.length > 0)
}

/** One stream of events over all phases, ending in the sum of their summaries. */
async function* runPhases(
  todo: readonly Phase[],
  {
    name,
    skipped,
    signal,
  }: { name: string | undefined; skipped: () => number; signal: AbortSignal },
): AsyncGenerator<Event> {
  const sums = new Map<string, number>()
  let end: Event | undefined
  for (const { files, concurrency, timeoutMs } of todo) {
    const events = run({
      files: [...files],
      concurrency,
      timeout: timeoutMs,
      signal,
      ...(name === undefined ? {} : { testNamePatterns: [name] }),
    })
    for await (const event of events as AsyncIterable<Event>) {
      const counted = countIn(event)
      if (counted !== undefined) {
        sums.set(counted.what, (sums.get(counted.what) ?? 0) + counted.count)
      } else if (event.type === 'test:summary' && event.data['file'] === undefined) end = event
      else yield event
    }
  }
  // The reporter answers this one with the list of what failed.
  if (end !== undefined) yield end
  // A skipped group of tests counts as none for Node, and as one here.
  sums.set('skipped', skipped())
  for (const [what, count] of sums) {
    yield { type: 'test:diagnostic', data: { nesting: 0, message: `${what} ${count}` } }
  }
}

/** Node's summary comes as diagnostics, such as "pass 12". */
function countIn(event: Event): { what: string; count: number } | undefined {
  if (event.type !== 'test:diagnostic' || event.data['file'] !== undefined) return undefined
  const [, what, count] =
    /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) ([\d.]+)$/.exec(
      String(event.data['message']),
    ) ?? []
  return what === undefined ? undefined : { what, count: Number(count) }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** Passes events on and remembers what a person must know at the end. */
async function* watch(
  events: AsyncIterable<Event>,
  seen: { passed: number; failed: number; skipped: Skipped[] },
): AsyncGenerator<Event> {
  for await (const event of events) {
    const { skip, name } = event.data
    if (event.type === 'test:fail') seen.failed++
    if (event.type === 'test:pass') {
      if (skip === undefined || skip === false) seen.passed++
      else seen.skipped.push({ name: text(name), why: text(skip) })
    }
    yield event
  }
}

function sayBefore(todo: readonly Phase[]): void {
  const count = todo.reduce((sum, { files }) => sum + files.length, 0)
  process.stdout.write(`${count} test files\n`)
}

function sayAfter(skipped: readonly Skipped[]): void {
  if (skipped.length === 0) return
  process.stdout.write(`\nskipped ${skipped.length}:\n`)
  for (const { name, why } of skipped) process.stdout.write(`  ${name}\n    ${why}\n`)
}

async function main(): Promise<number> {
  const choice = options()
  const todo = phases(choice)
  if (todo.length === 0) {
    process.stderr.write('no test file matches\n')
    return 1
  }
  sayBefore(todo)

  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => stop.abort(new Error(signal)))
  }
  const limit = setTimeout(() => stop.abort(new Error('the run took too long')), RUN_LIMIT_MS)

  const seen = { passed: 0, failed: 0, skipped: [] as Skipped[] }
  const events = runPhases(todo, {
    name: choice.name,
    skipped: () => seen.skipped.length,
    signal: stop.signal,
  })
  const reporter = new spec()
  const printed = (async () => {
    for await (const chunk of reporter) {
      // The summary stays last: it comes when all tests have reported.
      if (String(chunk).includes('ℹ tests ')) sayAfter(seen.skipped)
      process.stdout.write(String(chunk))
    }
  })()
  for await (const event of watch(events, seen)) {
    reporter.write(event)
  }
  reporter.end()
  await printed
  clearTimeout(limit)

  if (stop.signal.aborted) return 130
  const missing = process.env['KITH_REQUIRE_ALL'] === '1' && seen.skipped.length > 0
  return seen.failed > 0 || seen.passed === 0 || missing ? 1 : 0
}

try {
  process.exitCode = await main()
} catch (error) {
  if (!(error instanceof TypeError)) throw error
  process.stderr.write(`${error.message}\ntest/run.ts [--meta | --lab] [--name PATTERN] [PATH…]\n`)
  process.exitCode = 2
}
