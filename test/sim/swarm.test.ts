import assert from 'node:assert/strict'
import process from 'node:process'
import { describe, it } from 'node:test'

import { seededRandom } from '../helpers/random.ts'
import { hasAll, SwarmSim, type Mischief, type SimDevice } from '../helpers/swarm.ts'

const CHUNK_BYTES = 65_536
const RATE = 6_250

function sim(seed: string, chunks: number): SwarmSim {
  return new SwarmSim({ seed, chunks, chunkBytes: CHUNK_BYTES })
}

/** A source and `count` that have nothing. */
function home(swarm: SwarmSim, count: number): { source: SimDevice; others: SimDevice[] } {
  const source = swarm.add('source', 'all')
  return { source, others: Array.from({ length: count }, (_, i) => swarm.add(`d${i}`, 'nothing')) }
}

/** No device can be done before its link has taken everything once. */
function boundMs(chunks: number): number {
  return (chunks * CHUNK_BYTES) / RATE
}

function lastMs(devices: readonly SimDevice[]): number {
  return Math.max(...devices.map(({ doneMs }) => doneMs ?? Infinity))
}

function dice(seed: string): (below: number) => number {
  const random = seededRandom(seed)
  return (below) => new DataView(random.bytes(4).buffer).getUint32(0) % below
}

/** Everybody knows about `degree` others, and all hang together. */
function loose(swarm: SwarmSim, below: (n: number) => number, degree: number): void {
  const { devices } = swarm
  for (const [i, device] of devices.entries()) {
    const before = devices[below(i || 1)]
    if (i > 0 && before !== undefined) swarm.connect(device, before)
    while (device.links.size < Math.min(degree, i)) {
      const other = devices[below(i)]
      if (other !== undefined) swarm.connect(device, other)
    }
  }
}

describe('a swarm in which all are connected', () => {
  for (const [count, limit] of [
    [1, 1.02],
    [4, 1.03],
    [8, 1.05],
    [16, 1.08],
  ] as const) {
    it(`is done with ${count} soon after one link could be, the source giving all once`, () => {
      const swarm = sim('full', 1_000)
      const { source, others } = home(swarm, count)
      swarm.mesh()
      assert.equal(swarm.run(), 'done')
      const ratio = lastMs(others) / boundMs(1_000)
      const given = source.uploaded / (1_000 * CHUNK_BYTES)
      assert.ok(ratio <= limit, `${ratio} × the bound`)
      assert.ok(given <= 1.05, `the source gave ${given}`)
    })
  }

  it('serves one that comes late from everybody', () => {
    const swarm = sim('late', 200)
    const { source, others } = home(swarm, 4)
    swarm.mesh()
    swarm.run()
    const before = source.uploaded
    const late = swarm.add('late', 'nothing')
    const startedMs = swarm.nowMs
    for (const other of [source, ...others]) swarm.connect(late, other)
    assert.equal(swarm.run([late]), 'done')
    assert.ok((late.doneMs ?? Infinity) - startedMs < 1.1 * boundMs(200))
    assert.ok(source.uploaded - before < 0.5 * 200 * CHUNK_BYTES)
  })

  it('is not held up by one on a slow link', () => {
    const swarm = sim('slow', 300)
    const { others } = home(swarm, 4)
    const slow = swarm.add('slow', 'nothing', RATE / 20)
    swarm.mesh()
    assert.equal(swarm.run(others), 'done')
    const ratio = lastMs(others) / boundMs(300)
    assert.ok(ratio < 1.5, `${ratio} × the bound`)
    assert.equal(swarm.run([slow]), 'done')
  })
})

/** Bytes that came twice, and bytes of the source, each as a part of what there is to have. */
function costs(swarm: SwarmSim, chunks: number): { wasted: number; given: number } {
  const [source, ...others] = swarm.devices
  const all = chunks * CHUNK_BYTES
  const wasted = others.reduce((sum, device) => sum + device.wasted, 0)
  return { wasted: wasted / (all * others.length), given: (source?.uploaded ?? 0) / all }
}

describe('200 devices that come and go', () => {
  it('all have 64 MB soon after their links could, the source giving little more than once', () => {
    const chunks = 1_000
    const swarm = sim('churn', chunks)
    const below = dice('churn')
    home(swarm, 199)
    loose(swarm, below, 12)
    const started = new Map(swarm.devices.map((device) => [device, 0]))
    const { devices } = swarm
    let left = 0
    for (let i = 0; i < 60; i++) {
      swarm.at(below(Math.floor(boundMs(chunks))), () => {
        const device = devices[1 + below(devices.length - 1)]
        if (device === undefined || !device.online || device.doneMs !== undefined) return
        const links = [...device.links.keys()]
        swarm.leave(device)
        left++
        const awayMs = 200 + below(1_000)
        swarm.at(awayMs, () => {
          device.online = true
          started.set(device, (started.get(device) ?? 0) + awayMs)
          for (const other of links) if (other.online) swarm.connect(device, other)
        })
      })
    }
    assert.equal(swarm.run(), 'done')
    const ratios = devices.map(
      (device) => ((device.doneMs ?? Infinity) - (started.get(device) ?? 0)) / boundMs(chunks),
    )
    const { wasted, given } = costs(swarm, chunks)
    assert.ok(left > 40, `${left} left`)
    assert.ok(devices.every(hasAll))
    assert.ok(Math.max(...ratios) <= 1.3, `${Math.max(...ratios)} × the bound`)
    assert.ok(given <= 1.2, `the source gave ${given}`)
    assert.ok(wasted <= 0.03, `${wasted} came twice`)
  })
})

describe('a swarm in which not all are connected', () => {
  it('crosses the one device that joins two halves', () => {
    const swarm = sim('halves', 200)
    const { source, others } = home(swarm, 9)
    const [bridge, ...rest] = others
    assert.ok(bridge)
    const near = [source, bridge, ...rest.slice(0, 4)]
    const far = [bridge, ...rest.slice(4)]
    for (const side of [near, far]) for (const a of side) for (const b of side) swarm.connect(a, b)
    assert.equal(swarm.run(), 'done')
    const ratio = lastMs(others) / boundMs(200)
    assert.ok(ratio <= 1.3, `${ratio} × the bound`)
  })

  it('gives those with few neighbours no less', () => {
    const swarm = sim('few', 300)
    const { others } = home(swarm, 60)
    loose(swarm, dice('few'), 6)
    assert.equal(swarm.run(), 'done')
    const ratio = lastMs(others) / boundMs(300)
    const { wasted } = costs(swarm, 300)
    assert.ok(ratio <= 1.4, `${ratio} × the bound`)
    assert.ok(wasted <= 0.04, `${wasted} came twice`)
  })

  it('asks a device with 60 neighbours for little work', () => {
    const swarm = sim('many', 60)
    home(swarm, 199)
    loose(swarm, dice('many'), 30)
    const { user } = process.cpuUsage()
    assert.equal(swarm.run(), 'done')
    const perChunkUs = (process.cpuUsage().user - user) / (199 * 60)
    // Each is told of by sixty others, told to sixty, asked for and checked.
    assert.ok(perChunkUs < 1_000, `${perChunkUs} µs for each chunk of each device`)
  })

  it('is served by the source alone where nobody sees anybody else', () => {
    const swarm = sim('star', 60)
    const { source, others } = home(swarm, 5)
    for (const other of others) swarm.connect(source, other)
    assert.equal(swarm.run(), 'done')
    const ratio = lastMs(others) / (5 * boundMs(60))
    assert.ok(ratio < 2, `${ratio} × the bound`)
  })
})

describe('a swarm that loses its source', () => {
  it('is completed by the rest where they have everything between them', () => {
    const swarm = sim('gone', 200)
    const { source, others } = home(swarm, 6)
    swarm.mesh()
    const check = (): void => {
      const missing = Array.from({ length: 200 }, (_, n) => n).some(
        (n) => !others.some(({ swarm: { have } }) => ((have[n >> 3] ?? 0) >> (n & 7)) & 1),
      )
      if (missing) swarm.at(20, check)
      else swarm.leave(source)
    }
    check()
    assert.equal(swarm.run(others), 'done')
    assert.equal(source.links.size, 0, 'it has left')
  })

  it('waits at what nobody has, and goes on when it is back', () => {
    const swarm = sim('back', 200)
    const { source, others } = home(swarm, 6)
    swarm.mesh()
    swarm.at(0.4 * boundMs(200), () => swarm.leave(source))
    assert.equal(swarm.run(others, 20_000), 'stalled')
    source.online = true
    for (const other of others) swarm.connect(source, other)
    assert.equal(swarm.run(others), 'done')
  })
})

describe('a swarm with one that means no good', () => {
  const ACTS: Readonly<Record<string, Mischief>> = {
    'sends garbage': (action) => (action.type === 'upload' ? 'garbage' : undefined),
    'never answers': (action) => (action.type === 'upload' ? [] : undefined),
    'wants everything from everybody': (action) =>
      action.type === 'want'
        ? [{ ...action, chunks: Array.from({ length: 100 }, (_, n) => n) }]
        : undefined,
    'tells nobody what it got': (action) => (action.type === 'have-more' ? [] : undefined),
    'says that it lost whatever it is asked for': (action) =>
      action.type === 'upload'
        ? [{ type: 'lost', peer: action.peer, chunks: [action.n] }]
        : undefined,
  }
  for (const [what, mischief] of Object.entries(ACTS)) {
    for (const has of ['all', 'nothing'] as const) {
      it(`is done all the same when it has ${has} and ${what}`, () => {
        const swarm = sim(what, 100)
        const { others } = home(swarm, 5)
        const bad = swarm.add('bad', has)
        bad.mischief = mischief
        swarm.mesh()
        assert.equal(swarm.run(others), 'done')
        assert.ok(lastMs(others) < 20_000, `${lastMs(others)} ms`)
        if (what !== 'sends garbage') return
        const cut = others.flatMap((other) => other.cut)
        assert.ok(cut.length > 0)
        assert.ok(
          cut.every((one) => one === 'bad UPDATE_WRONG_CHUNK'),
          cut.join(),
        )
      })
    }
  }
})

/** A small home of any form, whose devices come and go while chunks are under way. */
function anyHome(seed: string): 'done' | 'stalled' {
  const below = dice(seed)
  const chunks = 1 + below(24)
  const swarm = sim(seed, chunks)
  const source = swarm.add('source', 'all')
  const count = 1 + below(6)
  for (let i = 0; i < count; i++) swarm.add(`d${i}`, 'nothing', RATE / (1 + below(8)))
  const { devices } = swarm
  loose(swarm, below, 1 + below(4))
  for (let i = 0; i < below(12); i++) {
    swarm.at(below(1_000), () => {
      const [a, b] = [devices[below(devices.length)], devices[below(devices.length)]]
      if (a === undefined || b === undefined) return
      if (a.links.has(b)) swarm.disconnect(a, b)
      else swarm.connect(a, b)
    })
  }
  swarm.at(1_500, () => {
    for (const device of devices) swarm.connect(source, device)
  })
  return swarm.run()
}

describe('homes of any form', () => {
  const seeds = process.env['KITH_SWEEP'] === 'all' ? 10_000 : 1_000
  it(`never stall (${seeds} seeds)`, () => {
    const stalled: number[] = []
    for (let seed = 0; seed < seeds; seed++)
      if (anyHome(`any ${seed}`) !== 'done') stalled.push(seed)
    assert.deepEqual(stalled, [])
  })
})
