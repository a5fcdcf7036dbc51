/**
 * What the MQTT sinks say. `PREFIX/DEVICE` has the newest value of each sensor, retained;
 * `PREFIX/DEVICE/late` what waited, with its time; `PREFIX/DEVICE/pack` signed packs byte for byte.
 * Keys that begin with `_` are no sensors: names of sensors never begin so.
 */
import type { ItemValue, OutItem, SinkDevice } from './sink.ts'
import type { TopicNames } from './mqtt-topics.ts'

export interface MqttMessage {
  readonly topic: string
  readonly payload: string | Uint8Array
  readonly retain: boolean
  /** Of MQTT 5. */
  readonly contentType?: string
  readonly userProperties?: Readonly<Record<string, string>>
  /** Whose this is; in the order of the batch. */
  readonly items: readonly OutItem[]
}

/** The newest values of each device, by its id. */
export type Values = Map<string, Map<string, ItemValue>>

/** Values of this many sensors of one device are kept. */
const SENSORS_MAX = 512

/**
 * One message for the readings of one moment of a pack, in order. `values` is brought up to date.
 */
export function messagesOf(
  items: readonly OutItem[],
  prefix: string,
  names: TopicNames,
  { values, retain }: { readonly values: Values; readonly retain: boolean },
): MqttMessage[] {
  const messages: MqttMessage[] = []
  for (const group of groupsOf(items)) {
    const [first] = group
    if (first === undefined) continue
    const topic = `${prefix}/${names.nameOf({ id: first.deviceId, name: first.device })}`
    if (first.pack !== undefined) messages.push(packMessage(topic, first, first.pack))
    else messages.push(stateMessage(topic, group, { values, retain }))
  }
  return messages
}

function groupsOf(items: readonly OutItem[]): OutItem[][] {
  const groups: OutItem[][] = []
  let last = ''
  for (const item of items) {
    const { pack, atMs, late = false } = item
    const key = pack === undefined ? `${packIdOf(item)} ${atMs} ${late}` : ''
    if (key !== '' && key === last) groups.at(-1)?.push(item)
    else groups.push([item])
    last = key
  }
  return groups
}

/** `<device id>/<seq>` */
function packIdOf({ id }: OutItem): string {
  return id.split('/').slice(0, 2).join('/')
}

function packMessage(topic: string, item: OutItem, pack: Uint8Array): MqttMessage {
  return {
    topic: `${topic}/pack`,
    payload: pack,
    retain: false,
    contentType: 'application/cose; cose-type="cose-sign1"',
    userProperties: { 'kith-id': item.id },
    items: [item],
  }
}

function stateMessage(
  topic: string,
  group: readonly OutItem[],
  { values, retain }: { readonly values: Values; readonly retain: boolean },
): MqttMessage {
  const [first = NO_ITEM] = group
  const late = first.late === true
  const id = packIdOf(first)
  const about = {
    _at: new Date(first.atMs).toISOString(),
    _id: id,
    _i: group.map((item) => Number(item.id.slice(id.length + 1))),
  }
  const known = late ? new Map<string, ItemValue>() : valuesOf(values, first.deviceId)
  for (const { sensor, value } of group) {
    if (known.has(sensor) || known.size < SENSORS_MAX) known.set(sensor, value)
  }
  return {
    topic: late ? `${topic}/late` : topic,
    payload: JSON.stringify({ ...Object.fromEntries(known), ...about }),
    retain: retain && !late,
    contentType: 'application/json',
    userProperties: { 'kith-id': id },
    items: group,
  }
}

/** Of no group: each has one item at least. */
const NO_ITEM: OutItem = { id: '', deviceId: '', device: '', sensor: '', value: '', atMs: 0 }

function valuesOf(values: Values, deviceId: string): Map<string, ItemValue> {
  const known = values.get(deviceId) ?? new Map<string, ItemValue>()
  values.set(deviceId, known)
  return known
}

export function bridgeTopic(prefix: string): string {
  return `${prefix}/bridge/state`
}

/** Asleep within its promise is as good as there. */
export function availabilityOf(prefix: string, names: TopicNames, device: SinkDevice): MqttMessage {
  return {
    topic: `${prefix}/${names.nameOf(device)}/availability`,
    payload: device.state === 'online' || device.state === 'asleep' ? 'online' : 'offline',
    retain: true,
    items: [],
  }
}
