/*
 * A process that publishes readings is killed at its n-th write, sync or truncation, and, from a
 * trace of a whole run, its disk is put back as a power cut would have left it. Whatever the moment:
 * every pack that it had said was kept is kept, and the log goes on without a second history.
 * KITH_SWEEP=all takes every moment instead of some; KITH_SWEEP_SEED repeats a choice.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { openDatabase } from '../../node/storage/db.ts'
import { migration, openPackStore } from '../../node/storage/packs.ts'
import {
  EMPTY_LOG,
  judge,
  openPack,
  type LogState,
  type Pack,
} from '../../protocols/telemetry/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { seededRandom } from '../helpers/random.ts'
import { CONTEXT, deviceOf } from '../helpers/telemetry.ts'
import { needs } from '../helpers/tools.ts'
import { afterPowerCut, readTrace, TRACED, type DiskEvent } from '../helpers/traced-disk.ts'

const SCRIPT = fileURLToPath(new URL('../helpers/publishing.ts', import.meta.url))
const KILLED_AT = 'pwrite64,ftruncate,fsync,fdatasync,unlink,rename'
const PACKS = 24
const KILLS = 8
const CUTS = 60
const all = process.env['KITH_SWEEP'] === 'all'
const signer = deviceOf('publishing')

/** Numbers and hashes that a process said were kept. */
function saidIn(output: string): Map<number, string> {
  return new Map(
    [...output.matchAll(/^kept (\d+) ([0-9a-f]{64})$/gm)].map(([, seq, hash = '']) => [
      Number(seq),
      hash,
    ]),
  )
}

/** The whole log on disk, checked as a holder would. */
function logIn(dir: string): Pack[] {
  const db = openDatabase(join(dir, 'kith.db'), [migration])
  try {
    const row = db.prepare('PRAGMA integrity_check').get()
    assert.deepEqual({ ...row }, { integrity_check: 'ok' })
    const store = openPackStore(db)
    assert.deepEqual(store.gaps(signer.key), [])
    const packs = store
      .read(signer.key, 1, 10_000)
      .map(({ bytes }) => openPack(bytes, CONTEXT, signer.key))
    assert.equal(packs.length, store.head(signer.key))
    const rows = store.history(signer.key, { sinceMs: 0, untilMs: 1e15 })
    assert.equal(rows.length, Math.min(10_000, packs.length * 8), 'readings of every pack')
    return packs
  } finally {
    db.close()
  }
}

function assertKept(dir: string, said: ReadonlyMap<number, string>): Pack[] {
  const packs = logIn(dir)
  for (const [seq, hash] of said) {
    const pack = packs[seq - 1]
    assert.ok(pack !== undefined, `pack ${seq} is lost`)
    assert.equal(toHex(pack.hash), hash, `pack ${seq}`)
  }
  return packs
}

function assertOneHistory(packs: readonly Pack[]): void {
  let state: LogState = EMPTY_LOG
  for (const [i, pack] of packs.entries()) {
    const judged = judge(state, pack, { receivedAtMs: Date.now(), hashAt: () => undefined })
    assert.ok(judged.verdict === 'accept', `pack ${i + 1}: ${judged.verdict}`)
    state = judged.state
  }
}

function publish(dir: string, count: number, strace: readonly string[] = []) {
  const [program, ...args] = [...strace, process.execPath, SCRIPT, dir, String(count)]
  return spawnSync(program, args, { encoding: 'utf8', maxBuffer: 2 ** 28, timeout: 120_000 })
}

describe('a publishing process', needs('strace'), () => {
  const seed = process.env['KITH_SWEEP_SEED'] ?? String(randomInt(2 ** 32))
  const random = seededRandom(seed)
  let root = ''
  let events: DiskEvent[] = []
  let calls = 0

  const below = (limit: number): number => {
    const [a = 0, b = 0, c = 0] = random.bytes(3)
    return (a * 65_536 + b * 256 + c) % limit
  }
  const folder = (name: string): string => {
    const dir = join(root, name)
    mkdirSync(dir)
    return dir
  }
  const moments = (count: number, limit: number): number[] =>
    all
      ? Array.from({ length: limit }, (_, i) => i + 1)
      : Array.from({ length: count }, () => 1 + below(limit))

  before(() => {
    root = realpathSync(mkdtempSync(join(tmpdir(), 'kith-power-')))
    const dir = folder('whole')
    const trace = join(root, 'trace')
    const strace = ['strace', '-xx', '-y', '-s', '100000', '-e', `trace=${TRACED}`, '-o', trace]
    const { status, stdout, stderr } = publish(dir, PACKS, strace)
    assert.equal(status, 0, stderr)
    assert.equal(saidIn(stdout).size, PACKS)
    events = readTrace(readFileSync(trace, 'latin1'), dir)
    calls = events.filter(({ kind }) => kind !== 'said').length
  })
  after(() => rmSync(root, { recursive: true, force: true }))

  it('syncs before it says that a pack is kept', () => {
    const said = events.flatMap((event, at) => (event.kind === 'said' ? [at] : []))
    assert.equal(said.length, PACKS)
    for (const at of said) assert.equal(events[at - 1]?.kind, 'sync')
  })

  it('loses nothing that it said where the power goes at any moment', (t) => {
    const cuts = moments(CUTS, events.length)
    t.diagnostic(`KITH_SWEEP_SEED=${seed}: ${cuts.length} cuts in ${events.length} events`)
    for (const cut of cuts) {
      const some = events.slice(0, cut)
      const said = saidIn(some.flatMap((one) => (one.kind === 'said' ? [one.text] : [])).join(''))
      for (const survives of [() => false, () => below(2) === 0, () => true]) {
        const dir = folder('cut')
        for (const [name, bytes] of afterPowerCut(some, survives)) {
          // The index of the log file is made anew.
          if (!name.endsWith('-shm')) writeFileSync(join(dir, name), bytes)
        }
        const packs = assertKept(dir, said)
        assert.ok(packs.length - said.size <= 1, `cut ${cut}: ${packs.length} of ${said.size}`)
        rmSync(dir, { recursive: true })
      }
    }
  })

  it('loses nothing that it said when it is killed at any write, and goes on in one history', (t) => {
    const kills = moments(KILLS, calls)
    t.diagnostic(`KITH_SWEEP_SEED=${seed}: ${kills.length} kills in ${calls} calls`)
    let early = 0
    for (const [i, call] of kills.entries()) {
      const dir = folder(`kill-${i}`)
      const inject = `inject=${KILLED_AT}:signal=SIGKILL:when=${call}`
      const strace = ['strace', '-o', '/dev/null', '-e', `trace=${KILLED_AT}`, '-e', inject]
      const killed = publish(dir, PACKS, strace)
      const said = saidIn(killed.stdout)
      if (said.size < PACKS) early++
      const kept = assertKept(dir, said)
      assert.ok(kept.length - said.size <= 1)
      const again = publish(dir, 3)
      assert.equal(again.status, 0, again.stderr)
      const log = assertKept(dir, new Map([...said, ...saidIn(again.stdout)]))
      assert.equal(log.length, kept.length + 3)
      assertOneHistory(log)
      rmSync(dir, { recursive: true })
    }
    assert.ok(early > 0, 'no run was cut short')
  })
})
