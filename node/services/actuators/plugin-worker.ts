/** The thread of one plug-in: loads its module and answers what Kith asks of it. */
import { pathToFileURL } from 'node:url'
import { parentPort, workerData } from 'node:worker_threads'

import type { Json } from '../../../protocols/calls/index.ts'
import type { FromPlugin, PluginStart, ToPlugin } from './plugin-messages.ts'
import type { CreatePlugin, Plugin } from './plugin.ts'

const MAX_LOG = 500

const { file, name, settings } = workerData as PluginStart
const running = new Map<number, AbortController>()

function say(message: FromPlugin): void {
  parentPort?.postMessage(message)
}

const module = (await import(pathToFileURL(file).href)) as { readonly create?: CreatePlugin }
if (typeof module.create !== 'function') throw new Error('it exports no function create')
const plugin = await module.create({
  name,
  settings: settings as Readonly<Record<string, unknown>>,
  changed: (changed, value) => say({ changed: changed, value: JSON.stringify(value) }),
  happened: (happened, data) => say({ happened, ...textOf(data) }),
  log: (text) => say({ log: text.slice(0, MAX_LOG) }),
})
const { properties = {}, actions = {}, events = {} } = plugin

parentPort?.on('message', (message: ToPlugin) => {
  if ('ping' in message) say({ pong: message.ping })
  else if ('abort' in message) running.get(message.n)?.abort(new Error('nobody waits any more'))
  else void answer(message)
})
say({ ready: JSON.stringify({ properties, actions, events }) })

async function answer(question: Extract<ToPlugin, { readonly verb: string }>): Promise<void> {
  const { n } = question
  const controller = new AbortController()
  running.set(n, controller)
  try {
    say({ n, ...textOf(await act(question, controller.signal)) })
  } catch (error) {
    say({ n, failed: (error instanceof Error ? error.message : 'no error').slice(0, MAX_LOG) })
  } finally {
    running.delete(n)
  }
}

async function act(
  { verb, name: of, value }: Extract<ToPlugin, { readonly verb: string }>,
  signal: AbortSignal,
): Promise<Json | undefined | void> {
  const given = value === undefined ? undefined : (JSON.parse(value) as Json)
  const asked: Plugin = plugin
  switch (verb) {
    case 'read':
      return asked.read?.(of, signal)
    case 'write':
      return asked.write?.(of, given ?? null, signal)
    case 'invoke':
      return asked.invoke?.(of, given, signal)
    case 'close':
      return asked.close?.()
  }
}

function textOf(value: unknown): { readonly value?: string } {
  const text = JSON.stringify(value) as string | undefined
  return text === undefined ? {} : { value: text }
}
