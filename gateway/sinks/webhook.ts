/**
 * Readings and packs as CloudEvents 1.0 in batches to one address, signed as Standard Webhooks says:
 * `webhook-signature` is `v1,` and the HMAC-SHA256, in base64, of `webhook-id`, `webhook-timestamp`
 * and the body, with dots between. The same batch has the same id whenever it is sent again, so a
 * receiver can tell. One that answers 410 is never asked again, which is kept on disk with the address:
 * another address is another subscription. What waits for it then is set aside, not sent.
 */
import { createHash, createHmac } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { SettingsOf } from '../config-sinks.ts'
import { secretOf } from './http-settings.ts'
import { ofStatus, said, sendInPieces, tellShares, type PieceAnswer } from './http-pieces.ts'
import { createPoster } from './http.ts'
import type { OutItem, Outcome, Sampler, Sink, SinkDeps } from './sink.ts'
import { eventOf } from './webhook-event.ts'

const MOST = 100
const GONE = 410
const BATCH_TYPE = 'application/cloudevents-batch+json; charset=utf-8'
/** Of Standard Webhooks: what follows is the key in base64. */
const KEY_PREFIX = 'whsec_'
const NO_EVENT = { poison: 'there is no such event' } satisfies Outcome
const UNSUBSCRIBED = { poison: 'the receiver has unsubscribed' } satisfies Outcome

export async function startWebhookSink(
  settings: SettingsOf<'webhook'>,
  deps: SinkDeps,
  _signal: AbortSignal,
): Promise<Sink> {
  const url = new URL(settings.url)
  const secret = await secretOf(settings, settings.secret_file)
  const poster = await createPoster(settings, deps, { known: [GONE] })
  const marker = markerOf(deps.folder, url)
  let gone = await isThere(marker)

  async function attempt(piece: readonly OutItem[], signal: AbortSignal): Promise<PieceAnswer> {
    const outcomes = piece.map((item): Outcome => {
      if (gone) return UNSUBSCRIBED
      return eventOf(item) === undefined ? NO_EVENT : 'sent'
    })
    const { body, sizes } = batchOf(piece)
    if (gone || sizes.length === 0) return { is: 'parts', outcomes }
    const headers = headersOf(body, piece, {
      key: await secret?.(),
      seconds: Math.floor(deps.clock.now() / 1000),
    })
    const bytes = Buffer.from(body)
    const answer = await poster.post(url, { bytes, headers }, signal)
    tellShares((item, size) => deps.meter.told(item, size), sizes, bytes.length)
    if (answer.status === GONE) {
      gone = true
      await keep(deps.folder, marker, url)
      deps.log.warn({ sink: settings.name, host: url.host }, 'the receiver has unsubscribed')
      return { is: 'parts', outcomes: piece.map(() => UNSUBSCRIBED) }
    }
    if (answer.status >= 300) {
      return ofStatus(answer.status, `the receiver refused it: ${said(answer.text)}`)
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

export const sampleWebhook: Sampler<SettingsOf<'webhook'>> = ({ url }, { items }) => [
  {
    to: new URL(url).href,
    body: batchOf(items).body,
    headers: headersOf('', items, { key: undefined, seconds: 0 }),
  },
]

interface Batch {
  readonly body: string
  readonly sizes: readonly { readonly item: OutItem; readonly bytes: number }[]
}

function batchOf(items: readonly OutItem[]): Batch {
  const events = items.flatMap((item) => {
    const event = eventOf(item)
    return event === undefined ? [] : [{ item, text: JSON.stringify(event) }]
  })
  return {
    body: `[${events.map(({ text }) => text).join(',')}]`,
    sizes: events.map(({ item, text }) => ({ item, bytes: Buffer.byteLength(text) })),
  }
}

interface Signing {
  readonly key: string | undefined
  readonly seconds: number
}

function headersOf(
  body: string,
  items: readonly OutItem[],
  { key, seconds }: Signing,
): Record<string, string> {
  const ids = items.map(({ id }) => id).join('\n')
  const id = createHash('sha256').update(ids).digest('base64url')
  const headers = {
    'content-type': BATCH_TYPE,
    'webhook-id': id,
    'webhook-timestamp': `${seconds}`,
  }
  if (key === undefined) return headers
  const bytes = key.startsWith(KEY_PREFIX)
    ? Buffer.from(key.slice(KEY_PREFIX.length), 'base64')
    : Buffer.from(key)
  const mac = createHmac('sha256', bytes).update(`${id}.${seconds}.${body}`).digest('base64')
  return { ...headers, 'webhook-signature': `v1,${mac}` }
}

function markerOf(folder: string | undefined, url: URL): string | undefined {
  if (folder === undefined) return undefined
  const name = createHash('sha256').update(url.href).digest('hex').slice(0, 16)
  return join(folder, `unsubscribed-${name}`)
}

async function isThere(path: string | undefined): Promise<boolean> {
  if (path === undefined) return false
  try {
    await readFile(path)
    return true
  } catch {
    return false
  }
}

/** Where the disk is full it is kept for as long as this runs, and asked for once more after that. */
async function keep(folder: string | undefined, path: string | undefined, url: URL): Promise<void> {
  if (folder === undefined || path === undefined) return
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await writeFile(path, `${url.host} answered 410\n`, { mode: 0o600, flush: true })
  } catch {
    // Said above.
  }
}
