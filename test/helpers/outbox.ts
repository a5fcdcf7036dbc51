import type { Taken } from '../../gateway/outbox/store.ts'
import type { OutItem } from '../../gateway/sinks/sink.ts'

export function outItem(device: string, seq: number, index: number): OutItem {
  return {
    id: `${device}/${seq}/${index}`,
    deviceId: device,
    device: `the ${device}`,
    sensor: `temperature.${index}`,
    unit: 'Cel',
    value: seq / 2,
    atMs: 1_700_000_000_000 + seq * 1000,
  }
}

/** A pack whose readings go to each of `sinks`. */
export function packOf(device: string, seq: number, sinks: readonly string[], count = 1): Taken {
  const items = Array.from({ length: count }, (_, index) => outItem(device, seq, index))
  return {
    deviceId: device,
    seq,
    items: sinks.flatMap((sink) => items.map((item) => ({ sink, item }))),
  }
}
