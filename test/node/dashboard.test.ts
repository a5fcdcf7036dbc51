import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import type { HistoryRow, Reading } from '../../node/api/view.ts'
import {
  showAgo,
  showSensor,
  showSpan,
  showText,
  showValue,
  spaceCode,
} from '../../node/dashboard/app/format.ts'
import {
  extent,
  WINDOW_MS,
  withHistory,
  withReading,
  type AllSeries,
} from '../../node/dashboard/app/series.ts'
import { dashboardFiles } from '../../node/dashboard/files.ts'

const NOW = 1_800_000_000_000

function reading(at: number, value: number, sensor = 'temperature'): Reading {
  const about = { device: 'shed', name: 'Shed', sensor, unit: 'Cel', seq: at, verified: true }
  return { ...about, at, value }
}

/** A number as this machine's language writes it. */
function local(value: number, digits: number): string {
  return value.toLocaleString(undefined, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  })
}

describe('the files of the dashboard', () => {
  it('hold every module that they import', async () => {
    const files = await dashboardFiles()
    const page = String(files.get('/')?.body)
    const map = /<script type="importmap">(.*?)<\/script>/.exec(page)?.[1] ?? ''
    const { imports } = JSON.parse(map) as { imports: Record<string, string> }
    let seen = 0
    for (const [path, { type, body }] of files) {
      if (!type.startsWith('text/javascript')) continue
      const clauses = /\b(?:import|export)\b[\s\w{},*$]*\bfrom\s*["']([^"']+)["']/g
      for (const [, name = ''] of String(body).matchAll(clauses)) {
        const target = name.startsWith('.')
          ? new URL(name, `http://device${path}`).pathname
          : imports[name]
        assert.ok(target !== undefined && files.has(target), `${path} imports ${name}`)
        seen++
      }
    }
    assert.ok(seen >= 25, `only ${seen} imports`)
  })

  it('hold all that the page names, and nothing from elsewhere', async () => {
    const files = await dashboardFiles()
    const page = String(files.get('/')?.body)
    const named = [...page.matchAll(/(?:src|href)="([^"#]+)"/g)].map(([, path = '']) => path)
    assert.ok(named.length >= 4)
    for (const path of named) assert.ok(files.has(path), path)
    for (const path of ['/', '/style.css']) {
      assert.doesNotMatch(String(files.get(path)?.body), /https?:|@import|url\(/, path)
    }
  })

  it('allow by its hash the one inline script that the page has', async () => {
    const page = (await dashboardFiles()).get('/')
    const inline = [...String(page?.body).matchAll(/<script(?![^>]*src=)[^>]*>(.*?)<\/script>/g)]
    const hashes = inline.map(
      ([, script = '']) => `sha256-${createHash('sha256').update(script).digest('base64')}`,
    )
    assert.equal(hashes.length, 1)
    assert.deepEqual(page?.scriptHashes, hashes)
  })

  it('are sources without their types', async () => {
    const files = await dashboardFiles()
    const client = [...files].find(([path]) => path.startsWith('/app/client.'))?.[1]
    assert.doesNotMatch(String(client?.body), /\binterface\b|import type|readonly/)
  })
})

describe('the numbers of the dashboard', () => {
  it('have three digits or so, and none where a sensor counts', () => {
    assert.equal(showText(21.456, 'Cel'), `${local(21.5, 1)} °C`)
    assert.equal(showText(0.4249, '1'), local(0.42, 2))
    assert.equal(showText(0.01234, 'V'), `${local(0.0123, 4)} V`)
    assert.equal(showText(1013.25, 'hPa'), `${local(1013, 0)} hPa`)
    assert.equal(showText(3, 'count', true), '3')
    assert.equal(showText(-0.001, 'Cel', true), '0 °C')
  })

  it('have units that people know', () => {
    assert.deepEqual(showValue(851_443_712, 'B'), { value: local(812, 0), unit: 'MiB' })
    assert.deepEqual(showValue(512, 'B'), { value: '512', unit: 'B' })
    assert.deepEqual(showValue(0.43, '/'), { value: local(43, 1), unit: '%' })
    assert.equal(showText(7500, 's'), '2 h 5 min')
    assert.equal(showText(2, 'C'), `${local(2, 2)} C`, 'coulomb')
  })

  it('are a dash where there is no number', () => {
    assert.equal(showText(Number.NaN, 'Cel'), '–')
    assert.equal(showText(Infinity, 'B'), '–')
  })

  it('are short whatever is measured', () => {
    const units = fc.constantFrom('', '1', 'B', 'KiB', 's', 'Cel', '/', '%RH')
    fc.assert(
      fc.property(fc.double(), units, fc.boolean(), (value, unit, whole) => {
        assert.ok(showText(value, unit, whole).length <= 40)
      }),
    )
  })

  it('tell times by how long ago they were', () => {
    assert.equal(showAgo(NOW + 60_000, NOW), 'just now')
    assert.equal(showAgo(NOW - 4000, NOW), 'just now')
    const words = new Intl.RelativeTimeFormat()
    assert.equal(showAgo(NOW - 90_000, NOW), words.format(-1, 'minute'))
    assert.equal(showAgo(NOW - 3 * 86_400_000, NOW), words.format(-3, 'day'))
  })

  it('tell lengths of time in two parts', () => {
    assert.equal(showSpan(0), '0 s')
    assert.equal(showSpan(59_999), '59 s')
    assert.equal(showSpan(3_600_000), '1 h')
    assert.equal(showSpan(90_061_000), '1 d 1 h')
  })

  it('space a pairing code while it is typed', () => {
    assert.equal(spaceCode('12'), '12')
    assert.equal(spaceCode('123'), '12-3')
    assert.equal(spaceCode('12 3456 7890 1'), '12-3456-7890-1')
    assert.equal(spaceCode('12-3456-7890-1999'), '12-3456-7890-1')
  })

  it('name a sensor in words', () => {
    assert.equal(showSensor('memory.used'), 'Memory used')
    assert.equal(showSensor('...'), '...')
  })
})

describe('the readings that the dashboard keeps', () => {
  const none: AllSeries = new Map()

  it('are those of the last hour, in order', () => {
    const series = [0, 1, 2, 1, WINDOW_MS + 1]
      .map((ms) => reading(NOW + ms, ms))
      .reduce(withReading, none)
    const kept = series.get('shed')?.get('temperature')
    assert.deepEqual(kept?.times, [NOW + 1, NOW + 2, NOW + WINDOW_MS + 1])
    assert.equal(kept?.last.at, NOW + WINDOW_MS + 1)
  })

  it('have a hole where history has a gap', () => {
    const rows: HistoryRow[] = [
      reading(NOW, 1),
      reading(NOW, 5, 'load'),
      { gap: { from: 3, to: 7 } },
      reading(NOW + 9000, 2),
    ]
    const sensors = withHistory(none, 'shed', rows).get('shed')
    assert.deepEqual(sensors?.get('temperature')?.values, [1, null, 2])
    assert.deepEqual(sensors?.get('load')?.values, [5])
  })

  it('keep what came live while history was being read', () => {
    const live = [reading(NOW + 5000, 5), reading(NOW + 6000, 6)].reduce(withReading, none)
    const rows = [reading(NOW, 0), reading(NOW + 5000, 5)]
    const kept = withHistory(live, 'shed', rows).get('shed')?.get('temperature')
    assert.deepEqual(kept?.values, [0, 5, 6])
    assert.equal(kept?.last.value, 6)
  })

  it('know whether a sensor counts', () => {
    const whole = [reading(NOW, 1), reading(NOW + 1, 2)].reduce(withReading, none)
    assert.equal(whole.get('shed')?.get('temperature')?.whole, true)
    const broken = withReading(whole, reading(NOW + 2, 2.5))
    assert.equal(broken.get('shed')?.get('temperature')?.whole, false)
  })

  it('have a smallest and a largest value', () => {
    assert.deepEqual(extent([3, null, -1, 2]), { min: -1, max: 3 })
    assert.equal(extent([null]), undefined)
  })
})
