/**
 * Benchmarks: each runs what it is compared with in the same run and says whether its goal was met.
 * None fails on time. README.md explains the output.
 *
 *   test/bench/main.ts [NAME…] [--json] [--long]
 */
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { fetchPackages } from './delta.ts'
import { table, type Result } from './figures.ts'
import { isOnLan, runOnLan } from './lan.ts'

const BENCHMARKS: Readonly<Record<string, (root: string, long: boolean) => Promise<Result>>> = {
  start: async (root) => (await import('./start.ts')).benchStart(root),
  throughput: async (root) => (await import('./throughput.ts')).benchThroughput(root),
  latency: async (root) => (await import('./latency.ts')).benchLatency(root),
  calls: async (root) => (await import('./calls.ts')).benchCalls(root),
  alarm: async (root) => (await import('./alarm.ts')).benchAlarm(root),
  wake: async (root) => (await import('./wake.ts')).benchWake(root),
  mqtt: async (root) => (await import('./mqtt.ts')).benchMqtt(root),
  gateway: async (root) => (await import('./gateway.ts')).benchGateway(root),
  hub: async (root, long) => (await import('./hub.ts')).benchHub(root, long),
  history: async (root) => (await import('./history.ts')).benchHistory(root),
  publish: async (root) => (await import('./publish.ts')).benchPublish(root),
  delta: async (root) => (await import('./delta.ts')).benchDelta(root),
  update: async (root) => (await import('./update.ts')).benchUpdate(root),
  swarm: async (root) => (await import('./swarm.ts')).benchSwarm(root),
  footprint: async (root) => (await import('./footprint.ts')).benchFootprint(root),
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      long: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  })
  const names = positionals.length > 0 ? positionals : Object.keys(BENCHMARKS)
  const unknown = names.find((name) => BENCHMARKS[name] === undefined)
  if (unknown !== undefined) {
    process.stderr.write(`${unknown}: not one of ${Object.keys(BENCHMARKS).join(', ')}\n`)
    return 2
  }
  if (!isOnLan()) {
    build()
    await using _ = names.includes('delta') ? await fetchPackages() : undefined
    return await runOnLan()
  }
  const root = await mkdtemp(path.join(tmpdir(), 'kith-bench-'))
  const results: Result[] = []
  try {
    for (const name of names) {
      const result = await BENCHMARKS[name]?.(root, values.long)
      if (result === undefined) continue
      results.push(result)
      if (!values.json) process.stdout.write(`${table(result)}\n\n`)
    }
  } finally {
    await rm(root, { recursive: true, force: true })
  }
  const machine = { cpu: cpus()[0]?.model ?? '', cores: cpus().length, node: process.version }
  process.stdout.write(
    values.json
      ? `${JSON.stringify({ machine, results }, null, 2)}\n`
      : `${machine.cores} × ${machine.cpu}, Node ${machine.node}\n`,
  )
  return 0
}

/** The published form is measured too. */
function build(): void {
  const compiler = path.join(ROOT, 'node_modules/typescript/bin/tsc')
  execFileSync(process.execPath, [compiler, '-b', 'node'], { cwd: ROOT, stdio: ['ignore', 2, 2] })
}

process.exitCode = await main()
