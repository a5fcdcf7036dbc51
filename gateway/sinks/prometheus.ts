/**
 * An endpoint that Prometheus scrapes: the last value of each sensor, at /metrics. A scrape has no
 * room for the time of measuring — what arrives late would take the time of the scrape — so each
 * sensor has a second series that tells it, and older readings than the one that is shown are left
 * out. Those who want history want the remote-write sink. Series end with their device, with its
 * being lost, and with the policy that let them out.
 *
 * It listens on this machine alone unless told otherwise, and then answers only those who name this
 * machine: a web page elsewhere that has its own name point here gets nothing.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { isIP } from 'node:net'

import { Gauge, Registry } from 'prom-client'

import { asError } from '../../node/index.ts'
import type { SettingsOf } from '../config-sinks.ts'
import { wrongSink } from './http-settings.ts'
import { cut, labelsOf, seriesOf, type Series } from './prometheus-names.ts'
import type { OutItem, Outcome, Sampler, Sink, SinkDeps, SinkDevice } from './sink.ts'

const MAX_SERIES = 10_000
const MAX_CONNECTIONS = 16
const ANSWER_MS = 10_000
/** Two kinds of reading may come to one name; each has those of them that it needs. */
const LABELS = ['device', 'device_id', 'sensor', 'value', 'state']

interface Shown {
  readonly series: Series
  readonly item: OutItem
}

/** Of one sensor, the reading that is shown; by device and sensor. */
type Board = Map<string, Shown>

export async function startPrometheusSink(
  settings: SettingsOf<'prometheus'>,
  deps: SinkDeps,
  signal: AbortSignal,
): Promise<Sink> {
  const { address, port } = settings
  if (isIP(address) === 0) throw wrongSink(settings, 'address must be an IP address')
  const board: Board = new Map()
  let devices: readonly SinkDevice[] = []
  const server = createServer(
    { requestTimeout: ANSWER_MS, headersTimeout: ANSWER_MS },
    (request, response) => {
      const page = (): Promise<string> => render(board, devices)
      answer(request, response, { page, local: isLocal(address) })
        .then((text) => tellLines(text, board, deps.meter))
        .catch((error: unknown) => {
          deps.log.warn({ err: asError(error), sink: settings.name }, 'a scrape failed')
          response.destroy()
        })
    },
  )
  server.maxConnections = MAX_CONNECTIONS
  server.on('connection', (socket) => deps.meter.watch(socket))
  server.listen(port, address)
  try {
    await once(server, 'listening', { signal })
  } catch (error) {
    signal.throwIfAborted()
    const { code = 'unknown' } = error as NodeJS.ErrnoException
    throw wrongSink(settings, `nothing can listen on ${address} port ${port} (${code})`)
  }
  return {
    name: settings.name,
    keepsTime: false,
    send: async (items) => items.map((item) => show(board, item)),
    devices: async (now) => {
      devices = now
      forget(board, now)
    },
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      if (server.listening) await once(server, 'close')
    },
  }
}

export const samplePrometheus: Sampler<SettingsOf<'prometheus'>> = (_, { items, devices }) => {
  const shown: Board = new Map()
  for (const item of items) show(shown, item)
  return [{ to: '/metrics', body: plainText(shown, devices) }]
}

function show(board: Board, item: OutItem): Outcome {
  const series = seriesOf(item)
  if (series === undefined) return { poison: 'Prometheus has no place for this' }
  const key = `${item.deviceId} ${item.sensor}`
  const shown = board.get(key)
  if (shown !== undefined && shown.item.atMs > item.atMs) return 'sent'
  if (shown === undefined && board.size >= MAX_SERIES) {
    return { poison: `there are more than ${MAX_SERIES} series` }
  }
  board.set(key, { series, item })
  return 'sent'
}

function forget(board: Board, devices: readonly SinkDevice[]): void {
  const known = new Map(devices.map((device) => [device.id, device]))
  for (const [key, { item }] of board) {
    const device = known.get(item.deviceId)
    const wanted = device?.fields.some(({ sensor }) => sensor === item.sensor) === true
    if (!wanted || device.state === 'lost') board.delete(key)
  }
}

interface Entry extends Series {
  readonly item?: OutItem
}

function entries(board: Board, devices: readonly SinkDevice[]): Entry[] {
  const all: Entry[] = []
  for (const { series, item } of board.values()) {
    all.push({ ...series, item })
    all.push({
      name: 'kith_reading_timestamp_seconds',
      labels: labelsOf(item),
      value: item.atMs / 1000,
      help: 'When the sensor measured what is shown, in seconds since 1970',
    })
  }
  for (const { id, name, state } of devices) {
    all.push({
      name: 'kith_device_up',
      labels: { device: cut(name), device_id: cut(id), state },
      value: state === 'online' || state === 'asleep' ? 1 : 0,
      help: 'Whether the device keeps what it promised',
    })
  }
  return all
}

async function render(board: Board, devices: readonly SinkDevice[]): Promise<string> {
  const registry = new Registry()
  const gauges = new Map<string, Gauge>()
  for (const { name, labels, value, help } of entries(board, devices)) {
    const gauge =
      gauges.get(name) ?? new Gauge({ name, help, labelNames: LABELS, registers: [registry] })
    gauges.set(name, gauge)
    gauge.set(labels, value)
  }
  return await registry.metrics()
}

/** As the library writes it, for a look at what would leave. */
function plainText(board: Board, devices: readonly SinkDevice[]): string {
  const escaped = (text: string): string =>
    text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"')
  return entries(board, devices)
    .map(({ name, labels, value }) => {
      const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`)
      return `${name}{${pairs.join(',')}} ${value}\n`
    })
    .join('')
}

const LINE_OF = /device_id="([^"\\]*)",sensor="([^"\\]*)"/

/** Each line that names a sensor tells it. */
function tellLines(text: string, board: Board, meter: SinkDeps['meter']): void {
  for (const line of text.split('\n')) {
    const [, deviceId = '', sensor = ''] = LINE_OF.exec(line) ?? []
    const shown = board.get(`${deviceId} ${sensor}`)
    if (shown !== undefined) meter.told(shown.item, Buffer.byteLength(line) + 1)
  }
}

interface Terms {
  readonly page: () => Promise<string>
  readonly local: boolean
}

/** What left as the body. */
async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { page, local }: Terms,
): Promise<string> {
  const refuse = (status: number): string => {
    response.writeHead(status).end()
    return ''
  }
  if (local && !namesThisMachine(request.headers.host)) return refuse(403)
  if (request.method !== 'GET') return refuse(405)
  if (request.url?.split('?')[0] !== '/metrics') return refuse(404)
  const text = await page()
  response.writeHead(200, { 'content-type': Registry.PROMETHEUS_CONTENT_TYPE }).end(text)
  return text
}

function isLocal(address: string): boolean {
  return address === '::1' || address.startsWith('127.')
}

function namesThisMachine(host: string | undefined): boolean {
  const name = (host ?? '').replace(/:\d+$/, '')
  return name === 'localhost' || name === '[::1]' || /^127(\.\d{1,3}){3}$/.test(name)
}
