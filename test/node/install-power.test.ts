/*
 * A process that installs, switches, goes back by itself and by hand is killed at its n-th change of
 * the disk, and, from a trace of a whole run, its disk is put back as a power cut would have left
 * it. Whatever the moment: what `current` leads to is a whole version, the one before or the one
 * after, and the next start finishes or undoes the rest. KITH_SWEEP=all takes every moment instead
 * of some; KITH_SWEEP_SEED repeats a choice.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { installsIn, listing, listingOf, NEVER, releaseOf, writeTree } from '../helpers/installs.ts'
import { seededRandom } from '../helpers/random.ts'
import { needs } from '../helpers/tools.ts'
import {
  leaveTree,
  readTreeTrace,
  TREE_CALLS,
  TREE_CHANGES,
  type TreeTrace,
} from '../helpers/traced-tree.ts'

const SCRIPT = fileURLToPath(new URL('../helpers/installing.ts', import.meta.url))
const CUTS = 20
const KILLS = 8
const all = process.env['KITH_SWEEP'] === 'all'
/** What may run after so many steps were said to be done; empty: nothing yet. */
const MAY_RUN = [['', '1.0'], ['1.0', '2.0'], ['2.0', '3.0'], ['2.0', '1.0'], ['1.0']]
/** The same once a start has finished or undone what was cut short. */
const MUST_RUN = [['', '1.0'], ['1.0', '2.0'], ['2.0'], ['2.0', '1.0'], ['1.0']]

function running(dir: string): string {
  const current = join(dir, 'app/current')
  if (!existsSync(join(current, 'VERSION'))) {
    assert.equal(
      existsSync(join(dir, 'app')) && readdirSync(join(dir, 'app')).includes('current'),
      false,
      'leads nowhere',
    )
    return ''
  }
  const version = readFileSync(join(current, 'VERSION'), 'utf8')
  assert.deepEqual(listing(realpathSync(current)), listingOf(version), `all of ${version}`)
  return version
}

describe('an installing process', needs('strace'), () => {
  const seed = process.env['KITH_SWEEP_SEED'] ?? String(randomInt(2 ** 32))
  const random = seededRandom(seed)
  let root = ''
  let archives = ''
  let trace: TreeTrace
  let count = 0

  const below = (limit: number): number => {
    const [a = 0, b = 0, c = 0] = random.bytes(3)
    return (a * 65_536 + b * 256 + c) % limit
  }
  const moments = (some: number, limit: number): number[] =>
    all
      ? Array.from({ length: limit }, (_, i) => i + 1)
      : Array.from({ length: some }, () => 1 + below(limit))
  const run = (dir: string, strace: readonly string[]) => {
    const argv = [...strace, process.execPath, SCRIPT, dir, archives]
    // One thread for the disk: its calls come in the order of the code.
    const env = { ...process.env, UV_THREADPOOL_SIZE: '1' }
    return spawnSync('strace', argv, {
      encoding: 'utf8',
      env,
      maxBuffer: 2 ** 28,
      timeout: 120_000,
    })
  }

  /** As the next start finds it, finishes it, and goes on. */
  async function assertWhole(dir: string, done: number, what: string): Promise<void> {
    const first = running(dir)
    assert.ok(MAY_RUN[done]?.includes(first), `${what}: runs ${first} after ${done} steps`)
    const installs = installsIn(dir, { reading: () => ({ value: 99, ageMs: 0 }) })
    const outcome = await installs.resume('app', NEVER)
    const second = running(dir)
    assert.ok(
      MUST_RUN[done]?.includes(second),
      `${what}: ${second} after a start (${outcome?.what})`,
    )
    await installs.discard('app', NEVER)
    const { trial, installed, previous } = await installs.state('app')
    assert.equal(trial, undefined, what)
    assert.equal(installed?.version ?? '', second, what)
    const kept = [installed, previous].flatMap((one) =>
      one === undefined ? [] : [`${one.version}-${one.build}`],
    )
    const versions = join(dir, 'app/versions')
    assert.deepEqual(
      existsSync(versions) ? readdirSync(versions).toSorted() : [],
      kept.toSorted(),
      what,
    )
    assert.equal(existsSync(join(dir, 'app/staging')), false, what)
    const next = releaseOf('4.0', 4)
    await installs.stage(next, join(archives, '4.0'), NEVER)
    assert.equal((await installs.switch('app', NEVER)).what, 'installed', what)
    assert.equal(running(dir), '4.0')
  }

  before(() => {
    root = realpathSync(mkdtempSync(join(tmpdir(), 'kith-install-power-')))
    archives = join(root, 'archives')
    mkdirSync(archives)
    for (const version of ['1.0', '2.0', '3.0', '4.0']) writeTree(join(archives, version), version)
    const dir = join(root, 'whole')
    mkdirSync(dir)
    const file = join(root, 'trace')
    const { status, stdout, stderr } = run(dir, [
      '-f',
      '-xx',
      '-y',
      '-s',
      '300000',
      '-e',
      `trace=${TREE_CALLS}`,
      '-o',
      file,
    ])
    assert.equal(status, 0, stderr)
    assert.equal(stdout, 'runs 1.0\nruns 2.0\nruns 2.0\nruns 1.0\n')
    trace = readTreeTrace(readFileSync(file, 'latin1'), dir)
    count = trace.events.length
  })
  after(() => rmSync(root, { recursive: true, force: true }))

  it('is followed to its last change', () => {
    const whole = join(root, 'followed')
    leaveTree(trace, count, () => true, whole)
    assert.deepEqual(listing(whole), listing(join(root, 'whole')))
    assert.ok(trace.events.filter(({ kind }) => kind === 'sync').length > 40)
  })

  it('leaves the old version or the new one where the power goes at any moment', async (t) => {
    const cuts = moments(CUTS, count)
    t.diagnostic(`KITH_SWEEP_SEED=${seed}: ${cuts.length} cuts in ${count} events`)
    for (const cut of cuts) {
      const done = trace.events.slice(0, cut).filter(({ kind }) => kind === 'said').length
      for (const [how, survives] of [
        ['nothing', () => false],
        ['half', () => below(2) === 0],
        ['all', () => true],
      ] as const) {
        const dir = join(root, 'cut')
        leaveTree(trace, cut, survives, dir)
        await assertWhole(dir, done, `cut ${cut}, ${how} of the rest kept`)
        rmSync(dir, { recursive: true })
      }
    }
  })

  it('leaves the old version or the new one where it is killed at any change', async (t) => {
    const kills = moments(KILLS, trace.events.filter(({ kind }) => kind !== 'said').length)
    t.diagnostic(`KITH_SWEEP_SEED=${seed}: kills at ${kills.join(', ')}`)
    let early = 0
    for (const kill of kills) {
      const dir = join(root, 'kill')
      mkdirSync(dir)
      const inject = `inject=${TREE_CHANGES}:signal=SIGKILL:when=${kill}`
      const { stdout } = run(dir, [
        '-f',
        '-o',
        '/dev/null',
        '-e',
        `trace=${TREE_CHANGES}`,
        '-e',
        inject,
      ])
      const done = stdout.split('\n').length - 1
      if (done < 4) early++
      await assertWhole(dir, done, `killed at ${kill}`)
      rmSync(dir, { recursive: true })
    }
    assert.ok(early > 0, 'no run was cut short')
  })
})
