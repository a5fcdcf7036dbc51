import type { SettingsOf } from '../../config-sensors.ts'
import { valueFrom } from '../../machine/values.ts'
import type { PushSource, Sink } from './source.ts'

/** Filled by other programs of this machine, through `kith sensors push`. */
export function pushSource(settings: SettingsOf<'push'>): Pick<PushSource, 'run' | 'push'> {
  const sinks = new Set<Sink>()
  return {
    async run(sink, signal) {
      sinks.add(sink)
      try {
        await aborted(signal)
      } finally {
        sinks.delete(sink)
      }
    },
    push(raw) {
      const sample = { sensor: settings.name, value: valueFrom(raw, settings) }
      for (const sink of sinks) sink.sample(sample)
      return sinks.size > 0
    },
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
