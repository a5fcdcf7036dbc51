/**
 * A reading as a CloudEvents 1.0 event in its JSON form: what webhooks, NATS and Kafka get. It is one
 * small object with fixed attributes; the field's own library would bring fifty packages to write it.
 */
import type { OutItem } from './sink.ts'

export interface CloudEvent {
  readonly specversion: '1.0'
  /** With `source`, the same whenever it is sent again. */
  readonly id: string
  readonly source: string
  readonly type: 'kith.reading.v1' | 'kith.pack.v1'
  readonly time: string
  readonly subject: string
  readonly datacontenttype: string
  readonly data?: unknown
  readonly data_base64?: string
}

export const EVENT_TYPE = 'application/cloudevents+json'

/** Undefined where there is no such event: a number or a time that is none. */
export function eventOf(item: OutItem): CloudEvent | undefined {
  const { id, deviceId, sensor, value, unit, atMs, pack } = item
  const time = new Date(atMs)
  if (Number.isNaN(time.getTime())) return undefined
  if (typeof value === 'number' && !Number.isFinite(value)) return undefined
  const device = item.device.toWellFormed()
  const common = {
    specversion: '1.0' as const,
    id,
    source: `urn:kith:${encodeURIComponent(deviceId.toWellFormed())}`,
    time: time.toISOString(),
  }
  if (pack !== undefined) {
    return {
      ...common,
      type: 'kith.pack.v1',
      // An empty subject is none.
      subject: device === '' ? deviceId : device,
      datacontenttype: 'application/cbor',
      data_base64: Buffer.from(pack).toString('base64'),
    }
  }
  return {
    ...common,
    type: 'kith.reading.v1',
    subject: sensor,
    datacontenttype: 'application/json',
    data: {
      device,
      sensor,
      value: typeof value === 'string' ? value.toWellFormed() : value,
      ...(unit === undefined ? {} : { unit }),
    },
  }
}
