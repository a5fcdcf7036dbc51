/**
 * InfluxDB's line protocol, to the write endpoint of version 1 (`/write`) or 2 (`/api/v2/write`), with
 * the time of measuring in milliseconds. A point with the same measurement, tags and time replaces the
 * one before, so what is sent again is there once. A write that the server took in part is sent again
 * in pieces until what it cannot take stands alone.
 */
import { wrongSink } from './http-settings.ts'
import type { SettingsOf } from '../config-sinks.ts'
import { ofStatus, said, sendInPieces, tellShares, type PieceAnswer } from './http-pieces.ts'
import { createPoster } from './http.ts'
import { lineOf } from './influx-line.ts'
import type { OutItem, Outcome, Sampler, Sink, SinkDeps } from './sink.ts'

const MOST = 500
const HEADERS = { 'content-type': 'text/plain; charset=utf-8' }
const NO_LINE = { poison: 'InfluxDB has no place for this' } satisfies Outcome

export async function startInfluxSink(
  settings: SettingsOf<'influx'>,
  deps: SinkDeps,
  _signal: AbortSignal,
): Promise<Sink> {
  const url = writeUrl(settings)
  const poster = await createPoster(settings, deps, { scheme: 'Token' })

  async function attempt(piece: readonly OutItem[], signal: AbortSignal): Promise<PieceAnswer> {
    const lines = linesOf(piece)
    const outcomes = piece.map((item): Outcome => (lineOf(item) === undefined ? NO_LINE : 'sent'))
    if (lines.length === 0) return { is: 'parts', outcomes }
    const bytes = Buffer.from(lines.map(({ line }) => line).join(''))
    const answer = await poster.post(url, { bytes, headers: HEADERS }, signal)
    const sizes = lines.map(({ item, line }) => ({ item, bytes: Buffer.byteLength(line) }))
    tellShares((item, size) => deps.meter.told(item, size), sizes, bytes.length)
    if (answer.status >= 300) {
      return ofStatus(answer.status, `InfluxDB refused it: ${said(answer.text)}`)
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

export const sampleInflux: Sampler<SettingsOf<'influx'>> = (settings, { items }) => {
  const body = linesOf(items).map(({ line }) => line)
  return [{ to: writeUrl(settings).href, body: body.join(''), headers: HEADERS }]
}

function linesOf(items: readonly OutItem[]): { readonly item: OutItem; readonly line: string }[] {
  return items.flatMap((item) => {
    const line = lineOf(item)
    return line === undefined ? [] : [{ item, line }]
  })
}

function writeUrl(settings: SettingsOf<'influx'>): URL {
  const base = new URL(settings.url)
  const { version, database, bucket, org } = settings
  const path = base.pathname.replace(/\/+$/, '')
  const url = new URL(`${base.origin}${path}${version === 1 ? '/write' : '/api/v2/write'}`)
  if (version === 1) {
    if (database === undefined) throw wrongSink(settings, 'version 1 needs database')
    url.searchParams.set('db', database)
  } else {
    if (bucket === undefined) throw wrongSink(settings, 'version 2 needs bucket')
    url.searchParams.set('bucket', bucket)
    if (org !== undefined) url.searchParams.set('org', org)
  }
  url.searchParams.set('precision', 'ms')
  return url
}
