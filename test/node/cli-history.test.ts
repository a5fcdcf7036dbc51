import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { HistoryRow, Reading, Summary, UnplacedReading } from '../../node/api/view.ts'
import { CSV_HEADER, csvRow } from '../../node/cli/csv.ts'
import { unplacedText } from '../../node/cli/print.ts'
import { senmlLines } from '../../node/cli/senml.ts'

const DEVICE = '12D3KooWgarden'
const AT = 1_800_000_000_500

const reading: Reading = {
  device: DEVICE,
  name: 'garden',
  sensor: 'temperature',
  value: 21.5,
  unit: 'Cel',
  at: AT,
  seq: 7,
  verified: true,
}
const summary: Summary = {
  ...reading,
  everyMs: 300_000,
  min: -1,
  mean: 21.5,
  max: 30,
  last: 22,
  count: 9,
}
const { at: _at, ...undated } = reading
const unplaced: UnplacedReading = {
  ...undated,
  unplaced: { boot: '0a1b2c3d'.repeat(4), sinceStartMs: 190_500 },
}
const gap: HistoryRow = { gap: { from: AT, to: AT + 60_000 } }

async function senml(rows: readonly HistoryRow[], waiting = 0): Promise<Record<string, unknown>[]> {
  const source = (async function* () {
    yield* rows
  })()
  let text = ''
  const about = { device: DEVICE, unplaced: () => Promise.resolve(waiting), now: AT }
  for await (const part of senmlLines(source, about)) text += part
  return JSON.parse(text) as Record<string, unknown>[]
}

describe('history as CSV', () => {
  it('has as many cells in every row as in its head', () => {
    const width = CSV_HEADER.split(',').length
    for (const row of [reading, summary, gap, unplaced]) {
      assert.equal(csvRow(row).split(',').length, width)
    }
  })

  it('names the end of a span and its numbers', () => {
    assert.equal(
      csvRow(summary),
      `summary,2027-01-15T08:00:00.500Z,2027-01-15T08:05:00.500Z,${DEVICE},garden,temperature,` +
        '21.5,Cel,7,true,-1,21.5,30,22,9,,',
    )
  })

  it('says of a reading without a date how long after which start it was taken', () => {
    assert.equal(
      csvRow(unplaced),
      `unplaced,,,${DEVICE},garden,temperature,21.5,Cel,7,true,,,,,,${unplaced.unplaced.boot},190.5`,
    )
  })
})

describe('history as text', () => {
  it('says of a reading without a date how long after which start it was taken', () => {
    assert.equal(
      unplacedText(unplaced),
      'no date yet, 3 min after start 0a1b2c3d  garden/temperature  21.5 °C',
    )
    assert.match(unplacedText({ ...unplaced, verified: false }), /NOT VERIFIED$/)
  })
})

describe('history as SenML', () => {
  it('counts the readings that have no date', async () => {
    const [record, ...more] = await senml([], 12)
    assert.deepEqual(record, {
      n: `urn:dev:ops:${DEVICE}:kith:unplaced`,
      u: 'count',
      v: 12,
      t: AT / 1000,
    })
    assert.equal(more.length, 0)
    assert.equal((await senml([reading], 12)).length, 2)
  })

  it('gives each reading by its whole name, with seconds and unit', async () => {
    assert.deepEqual(await senml([reading, { ...reading, unit: '' }]), [
      { n: `urn:dev:ops:${DEVICE}:temperature`, u: 'Cel', v: 21.5, t: 1_800_000_000.5 },
      { n: `urn:dev:ops:${DEVICE}:temperature`, v: 21.5, t: 1_800_000_000.5 },
    ])
  })

  it('gives a summary as a record for each number, and a gap as one with its length', async () => {
    const records = await senml([summary, gap])
    assert.deepEqual(
      records.map(({ n, u, v }) => [String(n).split(':').slice(4).join(':'), u, v]),
      [
        ['temperature:min', 'Cel', -1],
        ['temperature:mean', 'Cel', 21.5],
        ['temperature:max', 'Cel', 30],
        ['temperature:last', 'Cel', 22],
        ['temperature:count', 'count', 9],
        ['kith:gap', 's', 60],
      ],
    )
    for (const { n } of records) assert.match(String(n), /^[A-Za-z0-9][A-Za-z0-9\-:./_]*$/)
  })

  it('says in the first record that there are secondary units, and only then', async () => {
    const versions = async (rows: readonly HistoryRow[]) =>
      (await senml(rows)).map(({ bver }) => bver)
    const small = { ...reading, unit: 'hPa' }
    assert.deepEqual(await versions([reading, reading]), [undefined, undefined])
    assert.deepEqual(await versions([reading, small, reading]), [26, undefined, undefined])
    const many = Array.from({ length: 50_001 }, () => reading)
    assert.equal((await versions([...many, small]))[0], 26)
  })

  it('is an empty pack where there is nothing', async () => {
    assert.deepEqual(await senml([]), [])
  })
})
