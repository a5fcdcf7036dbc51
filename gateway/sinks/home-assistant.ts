/**
 * Home Assistant, over the broker that it listens to: the MQTT sink, and for each device one retained
 * message by which Home Assistant makes its entities. Told again when Home Assistant starts, taken
 * back when a device is removed, also where that happened while this gateway was not running.
 */
import type { SettingsOf } from '../config-sinks.ts'
import {
  discoveryOf,
  discoveryTopic,
  ownPrefix,
  updateStateOf,
} from './home-assistant-discovery.ts'
import type { MqttMessage } from './mqtt-messages.ts'
import { sampleMqtt, startExtended, type Extension } from './mqtt.ts'
import type { TopicNames } from './mqtt-topics.ts'
import type { Sampler, Sink, SinkDeps, SinkDevice } from './sink.ts'

export async function startHomeAssistantSink(
  settings: SettingsOf<'home-assistant'>,
  deps: SinkDeps,
  signal: AbortSignal,
): Promise<Sink> {
  return await startExtended(settings, deps, signal, discovery(settings, deps))
}

export const sampleHomeAssistant: Sampler<SettingsOf<'home-assistant'>> = (settings, of) =>
  sampleMqtt(settings, of, discovery(settings, of))

function discovery(
  { discovery: root, prefix }: SettingsOf<'home-assistant'>,
  { gateway }: Pick<SinkDeps, 'gateway'>,
): Extension {
  const status = `${root}/status`

  function messages(devices: readonly SinkDevice[], names: TopicNames): MqttMessage[] {
    return devices.flatMap((device) => {
      const base = `${prefix}/${names.nameOf(device)}`
      const config = discoveryOf(device, names, { prefix, gateway })
      return [
        retained(discoveryTopic(root, gateway.id, device), JSON.stringify(config)),
        ...(device.update === undefined
          ? []
          : [retained(`${base}/update`, updateStateOf(device.update))]),
      ]
    })
  }

  return {
    topics: [status, `${root}/device/+/config`],
    messages,
    onMessage(topic, payload) {
      if (topic === status) {
        return Buffer.from(payload).toString('latin1') === 'online' ? 'again' : 'nothing'
      }
      const ours = topic.split('/').at(-2)?.startsWith(ownPrefix(gateway.id)) === true
      return ours && payload.length > 0 ? 'retained' : 'nothing'
    },
  }
}

function retained(topic: string, payload: string): MqttMessage {
  return { topic, payload, retain: true, items: [] }
}
