/** The local API as the page uses it: JSON calls, problem+json errors, event streams. */
import type { Problem } from '../../api/problem.ts'
import type {
  AddDeviceInput,
  AddedDeviceView,
  CallView,
  DescriptionView,
  DeviceRow,
  EventView,
  HistoryRow,
  Json,
  Reading,
  RemovalView,
  StatusView,
  WhyView,
} from '../../api/view.ts'

const BASE = '/api/v1'
/** For short questions; adding a device takes as long as the person waits. */
const ANSWER_MS = 15_000
/** Longer than an action may take. */
const CALL_MS = 60_000
/** History comes in averages of this length: as many points as a small chart has room for. */
const HISTORY_STEP_MS = 20_000

/** The device refused. The message is its problem document's title, in words for a person. */
export class ApiError extends Error {
  readonly status: number
  /** What to do next; empty where the device does not say. */
  readonly hint: string

  constructor(status: number, message: string, hint: string) {
    super(message)
    this.name = 'ApiError'
    this.status = status
    this.hint = hint
  }
}

export interface Client {
  /** Trade the secret of a one-time link for a session. @throws ApiError 401 where it is used up. */
  login(token: string): Promise<void>
  status(signal: AbortSignal): Promise<StatusView>
  devices(signal: AbortSignal): Promise<readonly DeviceRow[]>
  history(device: string, since: number, signal: AbortSignal): Promise<readonly HistoryRow[]>
  add(input: AddDeviceInput, signal: AbortSignal): Promise<AddedDeviceView>
  rename(device: string, name: string): Promise<void>
  removal(device: string, signal: AbortSignal): Promise<RemovalView>
  remove(device: string): Promise<void>
  /** What a device lets this one do, with values where it is awake. */
  description(device: string, signal: AbortSignal): Promise<DescriptionView>
  /** The newest thing that it did because it was called. */
  why(device: string, signal: AbortSignal): Promise<readonly WhyView[]>
  write(device: string, name: string, value: Json): Promise<CallView>
  invoke(device: string, name: string, args: Json | undefined): Promise<CallView>
  /** Each resolves when the device ends the stream, and rejects where it breaks. */
  watch(each: (reading: Reading) => void, signal: AbortSignal): Promise<void>
  events(since: number, each: (event: EventView) => void, signal: AbortSignal): Promise<void>
}

export function createClient(): Client {
  const part = encodeURIComponent
  const device = (ref: string): string => `/devices/${part(ref)}`
  return {
    async login(token) {
      await send('POST', '/session', { token })
    },
    status: (signal) => read('/status', signal),
    devices: (signal) => read('/devices', signal),
    async history(ref, since, signal) {
      const rows: HistoryRow[] = []
      const path = `${device(ref)}/readings?since=${since}&everyMs=${HISTORY_STEP_MS}`
      await lines(path, (row) => rows.push(row as HistoryRow), signal)
      return rows
    },
    async add(input, signal) {
      return (await (await send('POST', '/devices', input, signal)).json()) as AddedDeviceView
    },
    async rename(ref, name) {
      await send('PATCH', device(ref), { name })
    },
    removal: (ref, signal) => read(`${device(ref)}/removal`, signal),
    async remove(ref) {
      await send('POST', `${device(ref)}/removal`, {})
    },
    description: (ref, signal) => read(`${device(ref)}/description?values=true`, signal),
    why: (ref, signal) => read(`${device(ref)}/why?limit=1`, signal),
    write: (ref, name, value) => call('PUT', `${device(ref)}/properties/${part(name)}`, { value }),
    invoke: (ref, name, args) => call('POST', `${device(ref)}/actions/${part(name)}`, { args }),
    watch: (each, signal) => lines('/readings/live', (row) => each(row as Reading), signal),
    events(since, each, signal) {
      const take = (block: string): void => {
        const data = dataOf(block)
        if (data !== '') each(JSON.parse(data) as EventView)
      }
      return stream(`/events?since=${since}`, '\n\n', take, signal)
    },
  }
}

async function read<T>(path: string, signal: AbortSignal): Promise<T> {
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)])
  const response = await checked(await fetch(BASE + path, { signal: bounded, cache: 'no-store' }))
  return (await response.json()) as T
}

/** For as long as the device that is called takes. */
async function call(method: 'PUT' | 'POST', path: string, body: unknown): Promise<CallView> {
  const response = await send(method, path, body, AbortSignal.timeout(CALL_MS))
  return (await response.json()) as CallView
}

async function send(
  method: 'POST' | 'PUT' | 'PATCH',
  path: string,
  body: unknown,
  signal: AbortSignal = AbortSignal.timeout(ANSWER_MS),
): Promise<Response> {
  const headers = { 'content-type': 'application/json' }
  const init = { method, headers, body: JSON.stringify(body), signal }
  return await checked(await fetch(BASE + path, init))
}

async function checked(response: Response): Promise<Response> {
  if (response.ok) return response
  const problem = (await response.json().catch(() => ({}))) as Partial<Problem>
  throw refusal(response.status, problem)
}

/** Calls `each` with every piece of the answer between two `separator`s. */
async function stream(
  path: string,
  separator: string,
  each: (piece: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const { body } = await checked(await fetch(BASE + path, { signal, cache: 'no-store' }))
  if (body === null) return
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    const pieces = (rest + value).split(separator)
    rest = pieces.pop() ?? ''
    pieces.forEach(each)
  }
  each(rest)
}

/** One JSON document a line. Where the rows break off, the last line says why. */
async function lines(
  path: string,
  each: (row: unknown) => void,
  signal: AbortSignal,
): Promise<void> {
  const take = (line: string): void => {
    if (line.trim() === '') return
    const row = JSON.parse(line) as { readonly error?: Problem }
    if (row.error !== undefined) throw refusal(row.error.status, row.error)
    each(row)
  }
  await stream(path, '\n', take, signal)
}

function refusal(status: number, { title, detail }: Partial<Problem>): ApiError {
  return new ApiError(status, title ?? `The device answered with status ${status}.`, detail ?? '')
}

/** The `data` of one server-sent event; empty for a comment, which is a sign of life. */
function dataOf(block: string): string {
  return block
    .split('\n')
    .filter((line) => line.startsWith('data:'))
    .map((line) => line.slice('data:'.length))
    .join('\n')
}
