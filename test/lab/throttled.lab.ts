/*
 *      hub (eth0) ─── switch "lan" ═══ slow cable ═══ (eth0) elm
 *
 * Hub has measured for a while when elm joins. What hub measures from then on does not wait behind
 * what it measured before.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { DeviceRow, EventView, LogProgress, Reading } from '../../node/api/view.ts'
import { needs } from '../helpers/tools.ts'
import { startLab, type Lab } from './devices.ts'
import { addPast } from './long-log.ts'

const KILOBITS = 800
const ROOMS = 80
/** Packs of hub's before elm comes: some 2 KB each, so some 8 s of the cable. */
const OLD_PACKS = 320
const NEWS_EVERY_MS = 150
/** Sensors that bring the news, in turn: one alone may speak once a second. */
const NEWS_SENSORS = 10
/** History that may come between the making of a reading and its arrival. */
const MAX_BETWEEN = 75
const USUALLY_BETWEEN = 50
const MIN_NEWS = 10
const ONLINE_LIMIT_MS = 30_000
const BACKFILL_LIMIT_MS = 30_000

/** A reading that was made while elm was still catching up. */
interface News {
  readonly at: number
  /** Packs that elm had when the reading was made, and when it came. */
  readonly before: number
  after?: number
}

const sensors = Array.from(
  { length: NEWS_SENSORS },
  (_, i) => `[sensor.news${i}]\ntype = "push"\n`,
).join('\n')

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

describe('a slow cable', needs('namespaces'), () => {
  let lab: Lab

  before(async () => {
    const settings = { 'telemetry.max_wait': '0s', 'telemetry.sensors': 'news*' }
    lab = await startLab(
      { lan: ['hub', 'elm'].map((device) => ({ device, interface: 'eth0' })) },
      { settings: { hub: settings, elm: { 'telemetry.sensors': '' } }, files: { hub: sensors } },
    )
    await Promise.all(['hub', 'elm'].map((name) => lab.device(name).start()))
    const hub = lab.device('hub')
    const kit = ['--device-name', 'hub', '--recovery-out', `${hub.dataDir}/kit`]
    await hub.kith(['home', 'create', 'Lab', ...kit])
    await hub.stop('SIGTERM')
    await addPast(hub.dataDir, { packs: OLD_PACKS, sensors: ROOMS })
    await hub.start()
    await lab.world.throttle('elm', 'eth0', KILOBITS)
    await lab.pair('hub', 'elm')
    await lab.online(['hub', 'elm'], ONLINE_LIMIT_MS)
  })
  after(async () => lab[Symbol.asyncDispose]())

  /** What elm has of hub's log. */
  async function progress(): Promise<LogProgress> {
    return (await lab.device('elm').api.device('hub')).log ?? { packs: 0, of: 0 }
  }

  /** Take what comes, until the signal. */
  async function collect<T>(from: AsyncIterable<T>, take: (item: T) => void): Promise<void> {
    try {
      for await (const item of from) take(item)
    } catch {
      // The end of the stream by the signal.
    }
  }

  it('carries news past the history that a late device fetches over it', async (t) => {
    const stop = new AbortController()
    const news = new Map<number, News>()
    const delays: number[] = []
    const told: EventView[] = []
    const elm = lab.device('elm').api
    const arrived = async ({ value }: Reading): Promise<void> => {
      const one = news.get(value)
      if (one === undefined) return
      delays.push(performance.now() - one.at)
      one.after = (await progress()).packs
    }
    const watching = collect(
      elm.watch({ device: 'hub', sensor: 'news*' }, stop.signal),
      (reading) => {
        void arrived(reading)
      },
    )
    const hearing = collect(elm.events(0, stop.signal), (event) => {
      if (event.type === 'telemetry.progress') told.push(event)
    })
    const started = performance.now()
    const asked = lab.device('elm').kith(['show', 'hub'])
    let number = 0
    await lab.until('elm has all of the log', BACKFILL_LIMIT_MS, async () => {
      const { packs, of } = await progress()
      if (of >= OLD_PACKS && packs >= of) return true
      news.set(number, { at: performance.now(), before: packs })
      await lab.device('hub').api.push([{ sensor: `news${number % NEWS_SENSORS}`, value: number }])
      number++
      await sleep(NEWS_EVERY_MS)
      return false
    })
    const tookMs = performance.now() - started
    const [shown] = (await asked) as [DeviceRow]
    assert.ok(shown.log !== undefined && shown.log.packs < shown.log.of, 'kith show tells how far')
    const passed = [...news.values()].flatMap((one) =>
      one.after === undefined ? [] : [one.after - one.before],
    )
    t.diagnostic(
      `${news.size} readings in ${Math.round(tookMs)} ms of catching up; median delay ${Math.round(median(delays))} ms, at most ${Math.round(Math.max(...delays))} ms; at most ${Math.max(...passed)} packs between`,
    )
    assert.ok(news.size >= MIN_NEWS, `only ${news.size} readings while it caught up`)
    // All but what was made last, which may come in a moment.
    assert.ok(passed.length >= news.size - 2, `${news.size - passed.length} were late`)
    assert.ok(Math.max(...passed) <= MAX_BETWEEN, `packs between: ${passed.join(' ')}`)
    assert.ok(median(passed) <= USUALLY_BETWEEN, `packs between: ${passed.join(' ')}`)
    assert.ok(median(delays) < tookMs / 4)
    await lab.until('the end is told', ONLINE_LIMIT_MS, () =>
      Promise.resolve(told.some(({ data }) => data['packs'] === data['of'])),
    )
    const tenths = told.map(({ data }) => Number(data['packs']))
    assert.ok(tenths.length >= 5, `progress told: ${tenths.join(' ')}`)
    assert.deepEqual(
      tenths,
      tenths.toSorted((a, b) => a - b),
    )
    stop.abort(new Error('seen enough'))
    await Promise.all([watching, hearing])
  })
})
