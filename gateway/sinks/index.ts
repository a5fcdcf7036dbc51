/** The types of sinks. Each is loaded when the first of it is configured, with what it needs. */
import type { SinkFactory } from './sink.ts'

const LOADERS = {
  mqtt: async () => (await import('./mqtt.ts')).startMqttSink,
  'home-assistant': async () => (await import('./home-assistant.ts')).startHomeAssistantSink,
  prometheus: async () => (await import('./prometheus.ts')).startPrometheusSink,
  'remote-write': async () => (await import('./remote-write.ts')).startRemoteWriteSink,
  otlp: async () => (await import('./otlp.ts')).startOtlpSink,
  webhook: async () => (await import('./webhook.ts')).startWebhookSink,
  influx: async () => (await import('./influx.ts')).startInfluxSink,
  nats: async () => (await import('./nats.ts')).startNatsSink,
  kafka: async () => (await import('./kafka.ts')).startKafkaSink,
} as const satisfies Record<string, () => Promise<SinkFactory>>

export type SinkType = keyof typeof LOADERS

export const SINK_TYPES = Object.keys(LOADERS) as readonly SinkType[]

export async function loadSink(type: SinkType): Promise<SinkFactory> {
  return await LOADERS[type]()
}
