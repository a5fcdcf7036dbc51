/**
 * An alarm: a file changes on one device, a rule there calls another device, and that one has done
 * it. From just before the write to the receipt, which is on the callee's disk by then. Some files
 * are watched; others are read often, as files of the kernel must be, which tell of no change.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'

import { connectSides } from './calls.ts'
import { quantile, row, type Result } from './figures.ts'

/** Each rule may fire 20 times before it has to wait: one for each change that it sees. */
const ROUNDS = 18
const FILES = 4
const EVERY_MS = 20
const GOAL_MS = 50

const WAYS = {
  watched: 'watch = true',
  polled: `interval = "${EVERY_MS}ms"`,
} as const
type Way = keyof typeof WAYS

export async function benchAlarm(root: string): Promise<Result> {
  const dir = path.join(root, 'alarm')
  const lamp = path.join(dir, 'lamp')
  await mkdir(dir, { recursive: true })
  await writeFile(lamp, '0')
  const names = (way: Way): readonly string[] =>
    Array.from({ length: FILES }, (_, i) => `${way}${i}`)
  const all = [...names('watched'), ...names('polled')]
  for (const name of all) await writeFile(path.join(dir, name), '0\n')
  const tables = (way: Way): string[] =>
    names(way).map((name) => deviceTables(name, path.join(dir, name), WAYS[way]))
  await using sides = await connectSides(path.join(dir, 'devices'), 4780, {
    caller: [...tables('watched'), ...tables('polled')].join('\n'),
    callee: all.map((name) => lampTable(name, lamp)).join('\n'),
  })
  const took: Record<Way, number[]> = { watched: [], polled: [] }
  for (const way of ['watched', 'polled'] as const) {
    sides.caller.send({
      type: 'change',
      files: names(way).map((name) => path.join(dir, name)),
      rounds: ROUNDS,
    })
    const { changed } = await sides.caller.next<{ changed: readonly Changed[] }>('changed')
    sides.callee.send({ type: 'executed' })
    const { executed } = await sides.callee.next<{ executed: readonly Executed[] }>('executed')
    took[way] = matched(changed, executed).slice(FILES)
  }
  return {
    name: 'alarm',
    about: `a file changes on one device → its rule → another device has done it, ${took.watched.length} of each`,
    rows: [
      row('a file that is watched, p50', 'ms', [quantile(took.watched, 0.5)]),
      row('the same, p99', 'ms', [quantile(took.watched, 0.99)]),
      row(`a file that is read every ${EVERY_MS} ms, p50`, 'ms', [quantile(took.polled, 0.5)]),
      row('the same, p99', 'ms', [quantile(took.polled, 0.99)]),
    ],
    goals: (['watched', 'polled'] as const).map((way) => ({
      text: `${way}: p50 below ${GOAL_MS} ms`,
      met: quantile(took[way], 0.5) < GOAL_MS,
    })),
  }
}

function deviceTables(name: string, file: string, how: string): string {
  return `[sensor.${name}]
type = "file"
path = "${file}"
${how}

[rule.${name}]
when = { sensor = "${name}", equals = 1 }
then = [{ device = "follower", write = "${name}", value = 1 }]
`
}

function lampTable(name: string, file: string): string {
  return `[property.${name}]\ntype = "file"\npath = "${file}"\nvalue = "integer"\n`
}

interface Changed {
  readonly file: string
  readonly atMs: number
}

interface Executed {
  readonly name: string
  readonly atMs: number
}

/** @throws Error where a change was not acted on once */
function matched(changed: readonly Changed[], executed: readonly Executed[]): number[] {
  if (changed.length !== executed.length) {
    throw new Error(`${changed.length} changes, ${executed.length} calls`)
  }
  return changed.map(({ file, atMs }, i) => {
    const done = executed[i]
    if (done?.name !== path.basename(file)) throw new Error(`call ${i} is of ${done?.name}`)
    return done.atMs - atMs
  })
}
