import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { sensorPart, type SensorInfo, type PolledSource } from './source.ts'
import { numberIn } from './system.ts'

/** Columns of /proc/net/dev, counted after the interface's name (proc_pid_net(5)). */
const COLUMNS = [
  { at: 0, name: 'rx-bytes', unit: 'B', what: 'Bytes received' },
  { at: 1, name: 'rx-packets', unit: 'count', what: 'Packets received' },
  { at: 8, name: 'tx-bytes', unit: 'B', what: 'Bytes sent' },
  { at: 9, name: 'tx-packets', unit: 'count', what: 'Packets sent' },
] as const

/** Counters of each network interface but the loopback, as the kernel has them since it started. */
export function networkSource(root: string): PolledSource {
  const path = join(root, 'proc/net/dev')
  return {
    id: 'network',
    describe() {
      return interfacesIn(readFileSync(path, 'latin1')).flatMap(({ device }) =>
        COLUMNS.map(({ name, unit, what }): SensorInfo => {
          return { name: nameOf(device, name), unit, description: `${what} on ${device}` }
        }),
      )
    },
    async read() {
      return interfacesIn(await readFile(path, 'latin1')).flatMap(({ device, counters }) =>
        COLUMNS.map(({ at, name, unit }) => {
          return { sensor: nameOf(device, name), unit, value: numberIn(counters[at]) }
        }),
      )
    },
  }
}

function nameOf(device: string, counter: string): string {
  return `network.${sensorPart(device)}.${counter}`
}

function interfacesIn(text: string): { readonly device: string; readonly counters: string[] }[] {
  return text.split('\n').flatMap((line) => {
    const colon = line.lastIndexOf(':')
    const device = line.slice(0, Math.max(0, colon)).trim()
    if (device === '' || device === 'lo') return []
    return [
      {
        device,
        counters: line
          .slice(colon + 1)
          .trim()
          .split(/\s+/),
      },
    ]
  })
}
