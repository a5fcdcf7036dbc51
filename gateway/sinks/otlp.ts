/**
 * OpenTelemetry over HTTP: numbers and truths as gauges to /v1/metrics, texts as log records to
 * /v1/logs, each with the time at which it was measured. The bodies are OTLP's own JSON form. The
 * SDK's exporters would give each point the time of collecting, and bring a dozen packages for what
 * is one object here.
 */
import type { SettingsOf } from '../config-sinks.ts'
import { ofStatus, said, sendInPieces, tellShares, type PieceAnswer } from './http-pieces.ts'
import { createPoster } from './http.ts'
import { bodyOf, isPlain, isText, type OtlpKind, type OtlpScope } from './otlp-body.ts'
import type { OutItem, Outcome, Sampler, Sink, SinkDeps } from './sink.ts'

const MOST = 500
const HEADERS = { 'content-type': 'application/json' }

interface Part {
  readonly kind: OtlpKind
  readonly items: readonly OutItem[]
}

export async function startOtlpSink(
  settings: SettingsOf<'otlp'>,
  deps: SinkDeps,
  _signal: AbortSignal,
): Promise<Sink> {
  const base = new URL(settings.url)
  const poster = await createPoster(settings, deps)
  const scope: OtlpScope = { gateway: deps.gateway, observedMs: () => deps.clock.now() }

  async function post({ kind, items }: Part, signal: AbortSignal): Promise<PieceAnswer> {
    const bytes = Buffer.from(bodyOf(kind, items, scope))
    const answer = await poster.post(endpoint(base, kind), { bytes, headers: HEADERS }, signal)
    const sizes = items.map((item) => ({ item, bytes: JSON.stringify(item.value).length + 100 }))
    tellShares((item, size) => deps.meter.told(item, size), sizes, bytes.length)
    if (answer.status >= 300) {
      return ofStatus(answer.status, `the receiver refused it: ${said(answer.text)}`)
    }
    return { is: 'parts', outcomes: afterPartialSuccess(items, answer.text) }
  }

  async function attempt(piece: readonly OutItem[], signal: AbortSignal): Promise<PieceAnswer> {
    const outcomes = new Map<OutItem, Outcome>()
    for (const part of parts(piece)) {
      const answer = await post(part, signal)
      // Of two bodies the first may be there, and comes twice: points of one time are one point.
      if (answer.is !== 'parts') return answer
      part.items.forEach((item, index) => outcomes.set(item, answer.outcomes[index] ?? 'retry'))
    }
    return { is: 'parts', outcomes: piece.map((item) => outcomes.get(item) ?? NO_PLACE) }
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

/** Logs say when they were observed as well: as though that were when they were measured. */
export const sampleOtlp: Sampler<SettingsOf<'otlp'>> = (settings, { items, gateway }) =>
  parts(items).map((part) => ({
    to: endpoint(new URL(settings.url), part.kind).href,
    body: bodyOf(part.kind, part.items, {
      gateway,
      observedMs: () => part.items.at(-1)?.atMs ?? 0,
    }),
    headers: HEADERS,
  }))

const NO_PLACE = { poison: 'OpenTelemetry has no place for this' } satisfies Outcome

function parts(items: readonly OutItem[]): Part[] {
  const plain = items.filter(isPlain)
  const all: Part[] = [
    { kind: 'metrics', items: plain.filter((item) => !isText(item)) },
    { kind: 'logs', items: plain.filter(isText) },
  ]
  return all.filter((part) => part.items.length > 0)
}

/** OTLP's own paths, below what is configured. */
function endpoint(base: URL, kind: OtlpKind): URL {
  return new URL(`${base.origin}${base.pathname.replace(/\/+$/, '')}/v1/${kind}${base.search}`)
}

/**
 * The receiver took the rest and must not get any of it again. It tells how many it refused and not
 * which: the count is kept right, on the last of them.
 */
function afterPartialSuccess(items: readonly OutItem[], text: string): readonly Outcome[] {
  const { refused, why } = partialSuccess(text)
  const taken = items.length - Math.min(items.length, refused)
  const poison = {
    poison: `the receiver refused ${refused} of ${items.length} and does not say which: ${why}`,
  }
  return items.map((_, index) => (index < taken ? 'sent' : poison))
}

function partialSuccess(text: string): { readonly refused: number; readonly why: string } {
  let answer: unknown
  try {
    answer = JSON.parse(text)
  } catch {
    // Not every receiver answers in JSON; the status has said that it went well.
  }
  const part = field(answer, 'partialSuccess')
  const count = field(part, 'rejectedDataPoints') ?? field(part, 'rejectedLogRecords') ?? 0
  const refused = Math.trunc(Number(count))
  const message = field(part, 'errorMessage')
  return {
    refused: refused > 0 ? refused : 0,
    why: typeof message === 'string' ? said(message) : 'no reason',
  }
}

function field(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined
}
