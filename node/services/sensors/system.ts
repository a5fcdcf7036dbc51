/** Sensors of the machine itself: load, processor, memory, uptime, disk. Linux, from /proc. */
import { readFile, statfs } from 'node:fs/promises'
import { join } from 'node:path'

import type { Sample, SensorInfo, PolledSource } from './source.ts'

/** Average length of the run queue over the last minute. */
export function loadSource(root: string): PolledSource {
  const info = { name: 'load', unit: 'count', description: 'Processes waiting to run, 1 minute' }
  return {
    id: 'load',
    describe: () => [info],
    async read() {
      const [first] = (await readFile(join(root, 'proc/loadavg'), 'latin1')).split(' ')
      return [sample(info, numberIn(first))]
    },
  }
}

/** Part of the processors' time that was not idle since the reading before; none at the first. */
export function cpuSource(root: string): PolledSource {
  const info = { name: 'cpu', unit: '/', description: 'Processor time in use, 0 to 1' }
  let before: { readonly idle: number; readonly total: number } | undefined
  return {
    id: 'cpu',
    describe: () => [info],
    async read() {
      const text = await readFile(join(root, 'proc/stat'), 'latin1')
      // user nice system idle iowait irq softirq steal; guest time is part of user (proc_stat(5)).
      const ticks = (text.split('\n')[0] ?? '').trim().split(/\s+/).slice(1, 9).map(numberIn)
      const total = ticks.reduce((sum, part) => sum + part, 0)
      const now = { total, idle: (ticks[3] ?? 0) + (ticks[4] ?? 0) }
      const last = before
      before = now
      if (last === undefined || now.total <= last.total) return []
      const busy = 1 - (now.idle - last.idle) / (now.total - last.total)
      return [sample(info, Math.min(1, Math.max(0, rounded(busy))))]
    },
  }
}

export function memorySource(root: string): PolledSource {
  const used = { name: 'memory.used', unit: 'B', description: 'Memory in use' }
  const available = {
    name: 'memory.available',
    unit: 'B',
    description: 'Memory that programs can still get',
  }
  return {
    id: 'memory',
    describe: () => [used, available],
    async read() {
      const text = await readFile(join(root, 'proc/meminfo'), 'latin1')
      const bytesOf = (name: string): number =>
        numberIn(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1]) * 1024
      const free = bytesOf('MemAvailable')
      return [sample(used, bytesOf('MemTotal') - free), sample(available, free)]
    },
  }
}

export function uptimeSource(root: string): PolledSource {
  const info = { name: 'uptime', unit: 's', description: 'Time since the machine started' }
  return {
    id: 'uptime',
    describe: () => [info],
    async read() {
      const [first] = (await readFile(join(root, 'proc/uptime'), 'latin1')).split(' ')
      return [sample(info, Math.floor(numberIn(first)))]
    },
  }
}

/** The file system that `path` is on. */
export function diskSource(path: string): PolledSource {
  const used = {
    name: 'disk.used',
    unit: 'B',
    description: 'Disk space in use where Kith keeps data',
  }
  const free = { name: 'disk.available', unit: 'B', description: 'Disk space left for Kith' }
  return {
    id: 'disk',
    describe: () => [used, free],
    async read() {
      const { bsize, blocks, bfree, bavail } = await statfs(path)
      return [sample(used, (blocks - bfree) * bsize), sample(free, bavail * bsize)]
    },
  }
}

function sample({ name, unit }: SensorInfo, value: number): Sample {
  return { sensor: name, unit, value }
}

/** @throws RangeError where the kernel's text is not what it was known to be */
export function numberIn(text: string | undefined): number {
  const value = text === undefined || text.trim() === '' ? Number.NaN : Number(text)
  if (!Number.isFinite(value)) throw new RangeError(`not a number: ${String(text).slice(0, 32)}`)
  return value
}

/** Four decimals. */
function rounded(value: number): number {
  return Math.round(value * 10_000) / 10_000
}
