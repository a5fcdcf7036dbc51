/** The types of sinks. Each is loaded when the first of it is configured, with what it needs. */
import type { SettingsOf, SinkSettings, SinkType } from '../config-sinks.ts'
import type { Sink, SinkDeps, SinkFactory } from './sink.ts'

type Loaders = { readonly [T in SinkType]: () => Promise<SinkFactory<SettingsOf<T>>> }

const LOADERS: Loaders = {
  mqtt: async () => (await import('./mqtt.ts')).startMqttSink,
  'home-assistant': async () => (await import('./home-assistant.ts')).startHomeAssistantSink,
  prometheus: async () => (await import('./prometheus.ts')).startPrometheusSink,
  'remote-write': async () => (await import('./remote-write.ts')).startRemoteWriteSink,
  otlp: async () => (await import('./otlp.ts')).startOtlpSink,
  webhook: async () => (await import('./webhook.ts')).startWebhookSink,
  influx: async () => (await import('./influx.ts')).startInfluxSink,
  nats: async () => (await import('./nats.ts')).startNatsSink,
  kafka: async () => (await import('./kafka.ts')).startKafkaSink,
}

/** Make the sink that `settings` name. @throws NodeError where it cannot be as they say */
export async function startSink(
  settings: SinkSettings,
  deps: SinkDeps,
  signal: AbortSignal,
): Promise<Sink> {
  const start = (await LOADERS[settings.type]()) as SinkFactory<SinkSettings>
  return await start(settings, deps, signal)
}
