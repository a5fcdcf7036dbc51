/**
 * Prometheus remote-write 1.0: every reading with the time at which it was measured. Prometheus takes
 * a whole request or nothing of it, so one that is refused is sent again in pieces until what it
 * cannot take — out of order, too old, a second value for the same moment — stands alone. To take
 * what arrives late it needs `out_of_order_time_window` in its own settings.
 */
import { compress } from 'snappyjs'
import { writer } from 'protons-runtime'

import type { SettingsOf } from '../config-sinks.ts'
import { cut, seriesOf, type Series } from './prometheus-names.ts'
import { ofStatus, said, sendInPieces, tellShares, type PieceAnswer } from './http-pieces.ts'
import { createPoster } from './http.ts'
import type { OutItem, Outcome, Sampler, Sink, SinkDeps } from './sink.ts'

const MOST = 500
/** Field 1, length-delimited: series in a request, labels in a series, names in a label. */
const FIELD_1 = 0x0a
const FIELD_2 = 0x12
const FIELD_1_DOUBLE = 0x09
const FIELD_2_VARINT = 0x10
const HEADERS = {
  'content-type': 'application/x-protobuf',
  'content-encoding': 'snappy',
  'x-prometheus-remote-write-version': '0.1.0',
}

interface Sample {
  readonly item: OutItem
  readonly series: Series
}

export async function startRemoteWriteSink(
  settings: SettingsOf<'remote-write'>,
  deps: SinkDeps,
  _signal: AbortSignal,
): Promise<Sink> {
  const url = new URL(settings.url)
  const poster = await createPoster(settings, deps)

  async function attempt(piece: readonly OutItem[], signal: AbortSignal): Promise<PieceAnswer> {
    const samples = samplesOf(piece)
    const outcomes = piece.map((item): Outcome =>
      seriesOf(item) === undefined ? NO_PLACE : 'sent',
    )
    if (samples.length > 0) {
      const { bytes, sizes } = encodeRequest(samples)
      const packed = compress(bytes)
      const answer = await poster.post(url, { bytes: packed, headers: HEADERS }, signal)
      tellShares((item, size) => deps.meter.told(item, size), sizes, packed.length)
      if (answer.status >= 300) {
        return ofStatus(answer.status, `Prometheus refused it: ${said(answer.text)}`)
      }
    }
    return { is: 'parts', outcomes }
  }

  return {
    name: settings.name,
    keepsTime: true,
    send: (items, signal) => sendInPieces(items, (piece) => attempt(piece, signal), { most: MOST }),
    async [Symbol.asyncDispose]() {
      poster[Symbol.dispose]()
    },
  }
}

/** The body is binary: what is in it, in Prometheus's own words. */
export const sampleRemoteWrite: Sampler<SettingsOf<'remote-write'>> = ({ url }, { items }) => {
  const lines = samplesOf(items).map(({ item, series }) => {
    const pairs = Object.entries(labelled(series))
    const inside = pairs.map(([name, value]) => `${name}=${JSON.stringify(value)}`)
    return `{${inside.join(',')}} ${series.value} ${item.atMs}\n`
  })
  return [{ to: new URL(url).href, body: lines.join(''), headers: HEADERS }]
}

const NO_PLACE = { poison: 'Prometheus has no place for this' } satisfies Outcome

function samplesOf(items: readonly OutItem[]): Sample[] {
  return items.flatMap((item) => {
    const series = seriesOf(item)
    return series === undefined ? [] : [{ item, series }]
  })
}

/** In order of their names, as the receiver may expect. */
function labelled({ name, labels }: Series): Readonly<Record<string, string>> {
  return { __name__: cut(name), ...labels }
}

interface Encoded {
  readonly bytes: Uint8Array
  readonly sizes: readonly { readonly item: OutItem; readonly bytes: number }[]
}

/** `WriteRequest`: series, each with its labels once and its samples in order of time. */
function encodeRequest(samples: readonly Sample[]): Encoded {
  const groups = Map.groupBy(samples, ({ series }) => JSON.stringify(labelled(series)))
  const request = writer()
  const sizes: { item: OutItem; bytes: number }[] = []
  for (const group of groups.values()) {
    const [first] = group
    if (first === undefined) continue
    const before = request.len
    request.uint32(FIELD_1).fork()
    for (const [name, value] of Object.entries(labelled(first.series))) {
      request.uint32(FIELD_1).fork()
      request.uint32(FIELD_1).string(name).uint32(FIELD_2).string(value)
      request.ldelim()
    }
    for (const { item, series } of group.toSorted((a, b) => a.item.atMs - b.item.atMs)) {
      request.uint32(FIELD_2).fork()
      request.uint32(FIELD_1_DOUBLE).double(series.value)
      request.uint32(FIELD_2_VARINT).int64(BigInt(Math.trunc(item.atMs)))
      request.ldelim()
    }
    request.ldelim()
    const share = (request.len - before) / group.length
    sizes.push(...group.map(({ item }) => ({ item, bytes: share })))
  }
  return { bytes: request.finish(), sizes }
}
