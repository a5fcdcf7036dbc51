import assert from 'node:assert/strict'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'

import {
  TIME_PROGRAMS,
  watchClockSource,
  type ClockSource,
  type TimeProgram,
} from '../../node/clock-source.ts'
import { virtualClock } from '../helpers/clock.ts'

const CHRONY = 'C0248F97,192.36.143.151,2,1795450523.1,-0.00001,0.00002,0.0001,-12.3,0.0,0.1'
const CHRONY_LEAP = (leap: string): string => `${CHRONY},0.01,0.001,64.2,${leap}\n`

function meaning(program: string, output: string): boolean | undefined {
  return TIME_PROGRAMS.find(({ path: file }) => file.endsWith(`/${program}`))?.means(output)
}

describe('what a program says of the clock', () => {
  it('is understood of timedatectl', () => {
    assert.equal(meaning('timedatectl', 'yes\n'), true)
    assert.equal(meaning('timedatectl', 'no\n'), false)
    assert.equal(meaning('timedatectl', 'Failed to connect'), undefined)
    assert.equal(meaning('timedatectl', 'toString'), undefined)
  })

  it('is understood of chrony, whose own clock is no time source', () => {
    assert.equal(meaning('chronyc', CHRONY_LEAP('Normal')), true)
    assert.equal(meaning('chronyc', CHRONY_LEAP('Insert second')), true)
    assert.equal(meaning('chronyc', CHRONY_LEAP('Not synchronised')), false)
    assert.equal(meaning('chronyc', CHRONY_LEAP('Normal').replace('C0248F97', '7F7F0101')), false)
    assert.equal(meaning('chronyc', '506 Cannot talk to daemon\n'), undefined)
  })

  it('is understood of ntpq, whose own clock is no time source', () => {
    assert.equal(meaning('ntpq', 'leap=00, refid=192.36.143.151\n'), true)
    assert.equal(meaning('ntpq', 'leap=10, refid=PPS\n'), true)
    assert.equal(meaning('ntpq', 'leap=11, refid=INIT\n'), false)
    assert.equal(meaning('ntpq', 'leap=00, refid=LOCL\n'), false)
    assert.equal(meaning('ntpq', 'ntpq: read: Connection refused\n'), undefined)
  })
})

describe('the source of the clock', () => {
  let folder: string
  const stop = new AbortController()
  const clock = virtualClock()

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'kith-clock-'))
  })
  after(async () => {
    stop.abort(new Error('done'))
    await rm(folder, { recursive: true, force: true })
  })

  const runs = async (name: string): Promise<number> =>
    (await readFile(path.join(folder, `${name}.runs`), 'utf8').catch(() => '')).length

  /** A program that answers what stands in `NAME.says`, and counts. */
  async function program(name: string, script = `cat ${name}.says`): Promise<TimeProgram> {
    const file = path.join(folder, name)
    const count = `printf x >> ${name}.runs`
    await writeFile(file, `#!/bin/sh\ncd ${folder}\nPATH=/bin:/usr/bin\n${count}\n${script}\n`)
    await chmod(file, 0o755)
    const means = TIME_PROGRAMS[0]?.means ?? (() => undefined)
    return { path: file, args: [], means }
  }

  const says = (name: string, text: string): Promise<void> =>
    writeFile(path.join(folder, `${name}.says`), text)

  function watch(programs: readonly TimeProgram[], file = 'none'): ClockSource {
    return watchClockSource({ clock, file: path.join(folder, file), programs }, stop.signal)
  }

  it('is a file where that is there, and then no program runs', async () => {
    await says('unasked', 'no')
    await writeFile(path.join(folder, 'synchronized'), '')
    const source = watch([await program('unasked')], 'synchronized')
    await source.look()
    assert.equal(source.synced(), true)
    assert.equal(await runs('unasked'), 0)
  })

  it('is the first program that answers', async () => {
    const missing = { path: path.join(folder, 'missing'), args: [], means: () => true }
    await says('fails', 'yes')
    await says('strange', 'perhaps')
    await says('knows', 'yes')
    await says('later', 'no')
    const fails = await program('fails', 'cat fails.says; exit 1')
    const rest = await Promise.all(['strange', 'knows', 'later'].map((name) => program(name)))
    const source = watch([missing, fails, ...rest])
    await source.look()
    assert.equal(source.synced(), true)
    assert.equal(await runs('later'), 0)
  })

  it('is none where no program is there, or knows', async () => {
    assert.equal(watch([]).synced(), false)
    const source = watch([await program('mute', 'exit 1')])
    await source.look()
    assert.equal(source.synced(), false)
  })

  it('is asked for every minute until the clock is set, then seldom, and may be lost again', async () => {
    await says('chrony', 'no')
    const source = watch([await program('chrony')])
    /** As the watcher does after so long; its look is the one that we wait for. */
    const later = async (ms: number): Promise<boolean> => {
      await clock.advance(ms)
      await source.look()
      await clock.advance(0)
      return source.synced()
    }
    await source.look()
    await clock.advance(0)
    assert.equal(source.synced(), false)
    const asked0 = await runs('chrony')
    await clock.advance(59_000)
    assert.equal(await runs('chrony'), asked0, 'not sooner')
    await says('chrony', 'yes')
    assert.equal(await later(1000), true)
    const asked = await runs('chrony')
    await clock.advance(14 * 60_000)
    assert.equal(await runs('chrony'), asked, 'seldom')
    await says('chrony', 'no')
    assert.equal(await later(60_000), false)
    assert.ok((await runs('chrony')) > asked)
  })

  it('is not waited for by a program that hangs', async () => {
    const hanging = await program('hanging', 'exec sleep 600')
    await says('other', 'yes')
    const started = performance.now()
    const source = watch([hanging, await program('other')])
    await source.look()
    assert.equal(source.synced(), true)
    assert.ok(performance.now() - started < 20_000)
  })
})
