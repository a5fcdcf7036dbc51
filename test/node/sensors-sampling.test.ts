import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import pino from 'pino'

import type { Pace, SensorSource, Sink } from '../../node/services/sensors/index.ts'
import { createSampler } from '../../node/services/telemetry/sampler.ts'
import { virtualClock } from '../helpers/clock.ts'
import { sourcesOf } from '../helpers/sensors.ts'

function sampling(sources: readonly SensorSource[], enabled: readonly string[] = []) {
  const clock = virtualClock()
  const startMs = clock.now()
  const got: [atMs: number, value: unknown][] = []
  const warnings: string[] = []
  const log = pino({ level: 'warn' }, { write: (line: string) => void warnings.push(line) })
  const deps = { sources, enabled, intervalMs: 10_000, clock, log }
  const sampler = createSampler(deps, (readings) => {
    got.push(...readings.map(({ atMs, value }) => [atMs - startMs, value] as [number, unknown]))
  })
  const stop = new AbortController()
  const running = sampler.run(stop.signal).catch((error: Error) => error.message)
  return {
    clock,
    got,
    warnings,
    sampler,
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('stop'))
      assert.equal(await running, 'stop')
    },
  }
}

const about = (id: string, pace: Pace) => ({
  id,
  pace,
  asked: true,
  describe: () => [{ name: id, unit: '', description: id }],
})

function polled(id: string, pace: Pace, read: () => unknown): SensorSource {
  return { ...about(id, pace), read: async () => [{ sensor: id, value: read() as number }] }
}

interface Spoken {
  readonly source: SensorSource
  /** One for each run, and how to end it. */
  readonly runs: { readonly sink: Sink; readonly end: (error?: Error) => void }[]
  readonly say: (value: number) => void
}

function spoken(id: string, pace: Pace = {}): Spoken {
  const runs: Spoken['runs'] = []
  return {
    runs,
    say: (value) => runs.at(-1)?.sink.sample({ sensor: id, value }),
    source: {
      ...about(id, pace),
      run: (sink, signal) =>
        new Promise((resolve, reject) => {
          runs.push({ sink, end: (error) => (error === undefined ? resolve() : reject(error)) })
          signal.addEventListener('abort', () => resolve(), { once: true })
        }),
    },
  }
}

describe('a configured sensor', () => {
  it('is on without being switched on, and read at its own interval', async () => {
    const quick = polled('quick', { intervalMs: 2000 }, () => 1)
    const usual = polled('usual', {}, () => 2)
    await using run = sampling([quick, usual])
    await run.clock.advance(10_000)
    const times = (value: number) => run.got.filter(([, one]) => one === value).map(([at]) => at)
    assert.deepEqual(times(1), [0, 2000, 4000, 6000, 8000, 10_000])
    assert.deepEqual(times(2), [0, 10_000])
  })

  it('is read as often as its interval says, and told of no wait that is short', async () => {
    const ends: (() => void)[] = []
    const source: SensorSource = {
      ...about('a', { intervalMs: 20, deadband: 0 }),
      read: async () => {
        await new Promise<void>((resolve) => ends.push(resolve))
        return [{ sensor: 'a', value: ends.length }]
      },
    }
    await using run = sampling([source])
    await run.clock.advance(900)
    assert.equal(ends.length, 1)
    assert.deepEqual(run.warnings, [])
    ends[0]?.()
    await run.clock.advance(20)
    assert.equal(ends.length, 2)
    await run.clock.advance(1100)
    assert.match(run.warnings.join(''), /has not come yet/)
    ends[1]?.()
  })

  it('that is watched is read at once when it changes, once more where it changed meanwhile', async () => {
    let tell = (): void => undefined
    let value = 0
    let over: AbortSignal | undefined
    const source: SensorSource = {
      ...about('a', { deadband: 0 }),
      read: async () => [{ sensor: 'a', value }],
      watch: (onChange, signal) => {
        tell = onChange
        over = signal
      },
    }
    {
      await using run = sampling([source])
      await run.clock.advance(1000)
      value = 1
      tell()
      tell()
      value = 2
      await run.clock.advance(0)
      tell()
      await run.clock.advance(0)
      assert.deepEqual(run.got, [
        [0, 0],
        [1000, 1],
      ])
      await run.clock.advance(20)
      assert.deepEqual(run.got.at(-1), [1000, 2])
      assert.equal(over?.aborted, false)
    }
    assert.equal(over?.aborted, true)
  })

  it('gives what has changed, and by its heartbeat what has not', async () => {
    let value = 20
    const pace = { intervalMs: 1000, deadband: 0.5, heartbeatMs: 4000 }
    await using run = sampling([polled('a', pace, () => (value += 0.1))])
    await run.clock.advance(3000)
    assert.equal(run.got.length, 1)
    assert.ok(Math.abs(Number(run.sampler.sensors()[0]?.value) - 20.4) < 1e-9)
    await run.clock.advance(1000)
    assert.deepEqual(
      run.got.map(([at]) => at),
      [0, 4000],
    )
    value = 30
    await run.clock.advance(1000)
    assert.deepEqual(
      run.got.map(([at]) => at),
      [0, 4000, 5000],
    )
  })

  it('is not disturbed by a wall clock that jumps', async () => {
    const pace = { intervalMs: 1000, deadband: 1, heartbeatMs: 3000 }
    await using run = sampling([polled('a', pace, () => 1)])
    await run.clock.advance(1500)
    run.clock.setWall(0)
    await run.clock.advance(1000)
    run.clock.setWall(4e12)
    assert.equal(run.got.length, 1)
    await run.clock.advance(1000)
    assert.equal(run.got.length, 2)
  })

  it('is asked less and less often while it fails, told once, and soon found again', async () => {
    const asked: number[] = []
    const time = { nowMs: () => 0 }
    let broken = true
    const source = polled('a', { intervalMs: 1000 }, () => {
      asked.push(time.nowMs() / 1000)
      if (broken) throw new Error(`gone ${asked.length}`)
      return 1
    })
    await using run = sampling([source, polled('b', { intervalMs: 1000 }, () => 2)])
    time.nowMs = () => run.clock.monotonic()
    await run.clock.advance(120_000)
    assert.deepEqual(asked, [0, 1, 2, 4, 8, 16, 32, 64])
    assert.equal(run.got.length, 121)
    assert.equal(run.sampler.sensors()[0]?.problem, 'gone 8')
    assert.equal(run.warnings.length, 1)
    broken = false
    await run.clock.advance(4000)
    assert.equal(run.sampler.sensors()[0]?.problem, undefined)
    const before = asked.length
    await run.clock.advance(10_000)
    assert.equal(asked.length - before, 10)
  })

  it('that comes late has the time at which it came', async () => {
    const late = Promise.withResolvers<number>()
    const source: SensorSource = {
      ...about('a', { intervalMs: 60_000 }),
      read: async () => [{ sensor: 'a', value: await late.promise }],
    }
    await using run = sampling([source])
    await run.clock.advance(5000)
    late.resolve(1)
    await run.clock.advance(1)
    assert.deepEqual(run.got, [[5000, 1]])
  })
})

describe('a sensor that speaks by itself', () => {
  it('is spaced: the newest of an interval comes at its end, with its own time', async () => {
    const { source, say } = spoken('a', { intervalMs: 1000 })
    await using run = sampling([source])
    await run.clock.advance(500)
    say(1)
    await run.clock.advance(100)
    say(2)
    await run.clock.advance(100)
    say(3)
    assert.deepEqual(run.got, [[500, 1]])
    await run.clock.advance(5000)
    assert.deepEqual(run.got, [
      [500, 1],
      [700, 3],
    ])
    say(4)
    assert.deepEqual(run.got.at(-1), [5700, 4])
  })

  it('loses nothing that still waits when the device stops', async () => {
    const { source, say } = spoken('a', { intervalMs: 1000 })
    const run = sampling([source])
    await run.clock.advance(1)
    say(1)
    say(2)
    await run[Symbol.asyncDispose]()
    assert.deepEqual(
      run.got.map(([, value]) => value),
      [1, 2],
    )
  })

  it('is started again later each time while it breaks at once, and stops nobody', async () => {
    const { source, runs } = spoken('a')
    await using run = sampling([source, polled('b', { intervalMs: 60_000 }, () => 2)])
    const started: number[] = []
    for (let step = 0; step < 300; step++) {
      await run.clock.advance(1000)
      for (const one of runs.splice(0)) {
        started.push(step)
        one.end(new Error('exits at once'))
      }
    }
    assert.deepEqual(started, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243])
    assert.equal(run.sampler.sensors()[0]?.problem, 'exits at once')
    assert.equal(run.warnings.length, 1)
    assert.equal(run.got.length, 6)
  })

  it('is started soon again where it had run well, and is well when it says so', async () => {
    const { source, runs } = spoken('a')
    await using run = sampling([source])
    await run.clock.advance(1)
    for (const seconds of [1, 2, 100]) {
      await run.clock.advance(seconds * 1000)
      runs.at(-1)?.end()
    }
    await run.clock.advance(0)
    assert.equal(run.sampler.sensors()[0]?.problem, 'it ended')
    const before = runs.length
    await run.clock.advance(1000)
    assert.equal(runs.length, before + 1)
    runs.at(-1)?.sink.ready()
    assert.equal(run.sampler.sensors()[0]?.problem, undefined)
  })

  it('does not run while it is off', async () => {
    const { source, runs, say } = spoken('a')
    await using run = sampling([source])
    await run.clock.advance(1)
    assert.equal(runs.length, 1)
    run.sampler.setEnabled('a', false)
    await run.clock.advance(100_000)
    say(1)
    assert.deepEqual([runs.length, run.got.length], [1, 0])
    run.sampler.setEnabled('a', true)
    await run.clock.advance(1)
    say(2)
    assert.deepEqual([runs.length, run.got.length], [2, 1])
  })
})

describe('pushed values', () => {
  const toml =
    '[sensor.a]\ntype = "push"\nunit = "Cel"\nscale = 2\n[sensor.b]\ntype = "push"\n[sensor.c]\ntype = "file"\npath = "/x"\n'

  it('become readings of the sensors that take them', async () => {
    await using run = sampling(sourcesOf(toml))
    await run.clock.advance(1)
    run.sampler.push([
      { sensor: 'a', value: '21.5' },
      { sensor: 'b', value: true },
    ])
    assert.deepEqual(run.got, [
      [1, 43],
      [1, 1],
    ])
  })

  it('are refused as a whole where a name is wrong or off, and singly where they are none', async () => {
    await using run = sampling(sourcesOf(toml))
    await run.clock.advance(1)
    const push =
      (sensor: string, value: number | string = 1) =>
      () =>
        run.sampler.push([
          { sensor: 'a', value: 1 },
          { sensor, value },
        ])
    assert.throws(push('none'), { code: 'NODE_NOT_FOUND' })
    assert.throws(push('c'), { code: 'NODE_NOT_FOUND' })
    run.sampler.setEnabled('b', false)
    await run.clock.advance(1)
    assert.throws(push('b'), { code: 'NODE_CONFLICT' })
    assert.deepEqual(run.got, [])
    run.sampler.setEnabled('b', true)
    await run.clock.advance(1)
    assert.throws(push('b', NaN), { code: 'NODE_USAGE', message: /^b: / })
    assert.equal(run.got.length, 1)
  })
})
