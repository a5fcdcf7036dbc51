/** A process that installs: `installing.ts DIR ARCHIVES`. Says what runs after each step. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'

import { systemClock } from '../../node/env.ts'
import { installsIn, NEVER, releaseOf } from './installs.ts'

const [dir = '', archives = ''] = process.argv.slice(2)
let monotonic = 0
const installs = installsIn(dir, {
  // Nothing is waited for.
  clock: {
    ...systemClock,
    monotonic: () => monotonic,
    sleep: async (ms) => void (monotonic += ms),
  },
  reading: () => ({ value: 20, ageMs: 0 }),
})
const say = (): void => {
  const text = readFileSync(join(dir, 'app/current/VERSION'), 'utf8')
  process.stdout.write(`runs ${text}\n`)
}
const reading = (max: number) => ({
  health: { seconds: 1, withinSeconds: 2, reading: { sensor: 'cpu', max } },
})

await installs.resume('app', NEVER)
for (const release of [
  releaseOf('1.0', 1),
  releaseOf('2.0', 2, reading(30)),
  // Ill.
  releaseOf('3.0', 3, reading(10)),
]) {
  await installs.stage(release, join(archives, release.version), NEVER)
  await installs.switch('app', NEVER)
  say()
}
await installs.rollback('app', NEVER)
say()
