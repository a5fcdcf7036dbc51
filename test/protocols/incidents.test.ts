import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import {
  Fetch,
  INCIDENTS,
  NO_PREV,
  openReport,
  readReports,
  ReportFrame,
  ReportPayload,
  sealReport,
  serveReports,
  type Report,
  type ReportContent,
  type ReportSource,
} from '../../protocols/incidents/index.ts'
import { fromHex, toHex, WireError } from '../../protocols/wire/index.ts'
import { channelPair } from '../helpers/channels.ts'
import { CONTEXT, deviceOf, HOME, START_MS } from '../helpers/telemetry.ts'
import { assertBothWays, byName, readVectors } from '../helpers/vectors.ts'

const device = deviceOf('incidents')

function reportOf(changes: Partial<ReportContent> = {}, signer = device): Report {
  const content = {
    seq: 1,
    prev: NO_PREV,
    at: START_MS,
    clock: 'synced',
    version: '1.0.0',
  } as const
  const rest = { kind: 'disk-full', since: START_MS, count: 1 } as const
  return sealReport({ ...content, ...rest, ...changes }, HOME, signer)
}

function chainOf(count: number): Report[] {
  const reports: Report[] = []
  for (let seq = 1; seq <= count; seq++) {
    reports.push(reportOf({ seq, prev: reports.at(-1)?.hash ?? NO_PREV }))
  }
  return reports
}

/** A device that keeps `reports`, and gets more when told. */
function sourceOf(reports: Report[]): ReportSource & { add(report: Report): void } {
  const listeners = new Set<() => void>()
  return {
    head: () => reports.at(-1)?.seq ?? 0,
    next: (from) => reports.find(({ seq }) => seq >= from),
    onNew(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    add(report) {
      reports.push(report)
      for (const listener of listeners) listener()
    },
  }
}

const vectors =
  readVectors<{ seed: string; home: string; reports: { hex: string; hash: string }[] }[]>(
    'incidents',
  )
const messages = byName(Fetch, ReportFrame, ReportPayload)

describe('the incident vectors', () => {
  it('match both ways', () => {
    assert.ok(vectors.messages.length >= 5)
    assertBothWays(vectors, messages)
  })

  it('are refused where they are invalid', () => {
    assert.ok(vectors.invalid.length >= 10)
    for (const { name, message, hex, code } of vectors.invalid) {
      const decode = (): unknown =>
        message === 'report'
          ? openReport(fromHex(hex), CONTEXT, deviceOf('vectors').key)
          : messages[message]?.decode(fromHex(hex))
      assert.throws(decode, { code }, name)
    }
  })

  it('hold the first reports of a device, byte for byte', () => {
    for (const { seed, reports } of vectors.runs) {
      for (const { hex, hash } of reports) {
        const report = openReport(fromHex(hex), CONTEXT, deviceOf(seed).key)
        const { device: _, hash: found, bytes, ...content } = report
        assert.equal(toHex(found), hash)
        assert.equal(toHex(sealReport(content, HOME, deviceOf(seed)).bytes), toHex(bytes))
      }
    }
  })
})

describe('a report', () => {
  it('takes no text that a person could have written', () => {
    const words = fc.string({ minLength: 1, maxLength: 60 })
    const plain = /^[A-Za-z][A-Za-z0-9_]*$/
    fc.assert(
      fc.property(words, (text) => {
        const place = { places: [`node/${text}.ts:1`] }
        if (!/^[a-z0-9/-]+$/.test(text)) assert.throws(() => reportOf(place), WireError)
        if (!plain.test(text)) assert.throws(() => reportOf({ code: text }), WireError)
      }),
    )
  })

  it('throws nothing but coded errors for damaged bytes, and accepts none', () => {
    const { bytes } = reportOf({ code: 'TypeError', places: ['node/main.ts:1'] })
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const damaged = bytes.slice()
        damaged[at] = (damaged[at] ?? 0) ^ by
        assert.throws(
          () => openReport(damaged, CONTEXT, device.key),
          (error) => typeof (error as { code?: unknown }).code === 'string',
        )
      }),
    )
  })
})

describe('fetching reports', () => {
  async function fetching(source: ReportSource, mayRead: () => boolean, last?: Report) {
    const stop = new AbortController()
    const [near, far] = await channelPair(INCIDENTS, undefined, stop.signal)
    const served = serveReports(far.channel, { source, mayRead }, stop.signal)
    const deps = { ...CONTEXT, device: device.key, last }
    const events = readReports(near.channel, deps)
    return {
      events,
      async [Symbol.asyncDispose]() {
        stop.abort(new Error('end'))
        near.stream.abort(new Error('end'))
        await served.catch(() => undefined)
      },
    }
  }

  it('brings what is kept, then what comes, after what is known', async () => {
    const [a, b, c, d] = chainOf(4)
    assert.ok(a && b && c && d)
    const source = sourceOf([a, b, c])
    await using run = await fetching(source, () => true, a)
    const seqs: number[] = []
    for await (const { seq } of run.events) {
      seqs.push(seq)
      if (seq === 3) source.add(d)
      if (seq === 4) break
    }
    assert.deepEqual(seqs, [2, 3, 4])
  })

  it('is refused to whoever is no owner, also once they are none any more', async () => {
    const [a, b] = chainOf(2)
    assert.ok(a && b)
    let owner = true
    const source = sourceOf([a])
    await using run = await fetching(source, () => owner)
    assert.equal((await run.events.next()).value?.seq, 1)
    owner = false
    source.add(b)
    await assert.rejects(run.events.next(), { code: 'INCIDENTS_FORBIDDEN' })
  })

  it('ends where a report is left out, changed, repeated or by another device', async () => {
    const [a, b, c] = chainOf(3)
    assert.ok(a && b && c)
    const other = reportOf({ seq: 2, prev: a.hash }, deviceOf('other'))
    const changed = reportOf({ seq: 2, prev: b.hash })
    const cases: [Report[], string][] = [
      [[a, other], 'INCIDENTS_WRONG_DEVICE'],
      [[a, changed], 'INCIDENTS_BROKEN_CHAIN'],
    ]
    for (const [reports, code] of cases) {
      await using run = await fetching(sourceOf(reports), () => true)
      await run.events.next()
      await assert.rejects(run.events.next(), { code })
    }
    const again: ReportSource = { ...sourceOf([a]), next: () => a }
    await using run = await fetching(again, () => true)
    await run.events.next()
    await assert.rejects(run.events.next(), { code: 'INCIDENTS_BROKEN_CHAIN' })
  })

  it('goes on where the oldest are no longer kept', async () => {
    const [a, , c] = chainOf(3)
    assert.ok(a && c)
    await using run = await fetching(sourceOf([c]), () => true, a)
    assert.equal((await run.events.next()).value?.seq, 3)
  })
})
