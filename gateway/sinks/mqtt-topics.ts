/**
 * Names of devices as parts of MQTT topics. Most are taken as they are. One that MQTT or a reader of
 * topics could take for something else, that is long, or that two devices have, becomes what is left
 * of it, `~` and the end of the device's id; no other name holds a `~`, so two devices never share one.
 */
import type { SinkDevice } from './sink.ts'

const MAX_BYTES = 64
const KEPT_CHARACTERS = 24
const ID_CHARACTERS = 12
/** Of MQTT's levels and wildcards, of `$SYS` and its like, of this page, and what cannot be seen. */
const UNSAFE = /[/+#$~\p{C}\p{Z}]/u
const EVERY_UNSAFE = /[/+#$~\p{C}\p{Z}]+/gu
/** Topics beside those of devices. */
const RESERVED = new Set(['', 'bridge'])

export interface TopicNames {
  nameOf(device: { readonly id: string; readonly name: string }): string
  /** Of the devices that are known. */
  deviceOf(name: string): SinkDevice | undefined
}

export function topicNames(devices: readonly SinkDevice[]): TopicNames {
  const users = new Map<string, number>()
  for (const { name } of devices) users.set(name, (users.get(name) ?? 0) + 1)
  const known = new Set(devices.map(({ id }) => id))
  const nameOf = ({ id, name }: { id: string; name: string }): string => {
    const others = (users.get(name) ?? 0) - (known.has(id) ? 1 : 0)
    return isPlain(name) && others === 0 ? name : marked(id, name)
  }
  const byName = new Map(devices.map((device) => [nameOf(device), device]))
  return { nameOf, deviceOf: (name) => byName.get(name) }
}

function isPlain(name: string): boolean {
  const inner = name.replaceAll(' ', '')
  return (
    name.isWellFormed() &&
    name === name.trim() &&
    Buffer.byteLength(name) <= MAX_BYTES &&
    !UNSAFE.test(inner) &&
    !RESERVED.has(name)
  )
}

function marked(id: string, name: string): string {
  const rest = Array.from(
    name
      .slice(0, 10 * KEPT_CHARACTERS)
      .toWellFormed()
      .replaceAll(EVERY_UNSAFE, '_'),
  )
  return `${rest.slice(0, KEPT_CHARACTERS).join('')}~${id.slice(-ID_CHARACTERS)}`
}
