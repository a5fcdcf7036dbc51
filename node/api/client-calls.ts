/** The part of client.ts that uses devices. */
import type { CallsView } from './view.ts'

export interface Asked {
  readonly method: string
  readonly path: string
  readonly body?: unknown
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
}

/** How client.ts asks; every question ends when its signal aborts. */
export interface Asking {
  readonly ask: <T>(path: string, query: Asked['query'], signal: AbortSignal) => Promise<T>
  readonly act: <T>(asked: Asked, signal: AbortSignal) => Promise<T>
  readonly lines: <T>(path: string, query: Asked['query'], signal: AbortSignal) => AsyncIterable<T>
}

export function device(ref: string): string {
  return `/devices/${encodeURIComponent(ref)}`
}

export function callsClient({ ask, act, lines }: Asking): CallsView {
  const part = (ref: string, kind: string, name: string): string =>
    `${device(ref)}/${kind}/${encodeURIComponent(name)}`
  const call = (id: string): string => `/calls/${encodeURIComponent(id)}`
  return {
    description: (ref, options, signal) =>
      ask(`${device(ref)}/description`, { ...options }, signal),
    readProperty: (ref, name, options, signal) =>
      ask(part(ref, 'properties', name), { ...options }, signal),
    writeProperty: ({ ref, name }, value, options, signal) =>
      act(
        { method: 'PUT', path: part(ref, 'properties', name), body: { value, ...options } },
        signal,
      ),
    invokeAction: ({ ref, name }, args, options, signal) =>
      act({ method: 'POST', path: part(ref, 'actions', name), body: { args, ...options } }, signal),
    observe: (ref, name, signal) => lines(part(ref, 'changes', name), {}, signal),
    calls: () => ask('/calls', {}, new AbortController().signal),
    callById: (id, options, signal) => ask(call(id), { ...options }, signal),
    cancelCall: (id, signal) => act({ method: 'DELETE', path: call(id) }, signal),
    why: (ref, query, signal) => ask(`${device(ref)}/why`, { ...query }, signal),
  }
}
