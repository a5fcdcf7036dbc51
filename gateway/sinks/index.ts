/** The types of sinks. Each is loaded when the first of it is configured, with what it needs. */
import type { SettingsOf, SinkSettings, SinkType } from '../config-sinks.ts'
import type { Sample, Sampled, Sampler, Sink, SinkDeps, SinkFactory } from './sink.ts'

interface Kind<T extends SinkType> {
  readonly start: SinkFactory<SettingsOf<T>>
  readonly sample: Sampler<SettingsOf<T>>
}
type Loaders = { readonly [T in SinkType]: () => Promise<Kind<T>> }

const LOADERS: Loaders = {
  async mqtt() {
    const { startMqttSink: start, sampleMqtt: sample } = await import('./mqtt.ts')
    return { start, sample: (settings, of) => sample(settings, of) }
  },
  async 'home-assistant'() {
    const sink = await import('./home-assistant.ts')
    return { start: sink.startHomeAssistantSink, sample: sink.sampleHomeAssistant }
  },
  async prometheus() {
    const sink = await import('./prometheus.ts')
    return { start: sink.startPrometheusSink, sample: sink.samplePrometheus }
  },
  async 'remote-write'() {
    const sink = await import('./remote-write.ts')
    return { start: sink.startRemoteWriteSink, sample: sink.sampleRemoteWrite }
  },
  async otlp() {
    const sink = await import('./otlp.ts')
    return { start: sink.startOtlpSink, sample: sink.sampleOtlp }
  },
  async webhook() {
    const sink = await import('./webhook.ts')
    return { start: sink.startWebhookSink, sample: sink.sampleWebhook }
  },
  async influx() {
    const sink = await import('./influx.ts')
    return { start: sink.startInfluxSink, sample: sink.sampleInflux }
  },
  async nats() {
    const sink = await import('./nats.ts')
    return { start: sink.startNatsSink, sample: sink.sampleNats }
  },
  async kafka() {
    const sink = await import('./kafka.ts')
    return { start: sink.startKafkaSink, sample: sink.sampleKafka }
  },
}

/** Make the sink that `settings` name. @throws NodeError where it cannot be as they say */
export async function startSink(
  settings: SinkSettings,
  deps: SinkDeps,
  signal: AbortSignal,
): Promise<Sink> {
  const { start } = await kindOf(settings)
  return await start(settings, deps, signal)
}

/** What the sink that `settings` name would send. Nothing is opened. @throws NodeError as `startSink` */
export async function sampleSink(settings: SinkSettings, of: Sampled): Promise<readonly Sample[]> {
  const { sample } = await kindOf(settings)
  return sample(settings, of)
}

async function kindOf({ type }: SinkSettings): Promise<{
  readonly start: SinkFactory<SinkSettings>
  readonly sample: Sampler<SinkSettings>
}> {
  return (await LOADERS[type]()) as Awaited<ReturnType<typeof kindOf>>
}
