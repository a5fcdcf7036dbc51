/**
 * Packets that went over the network interfaces, from the kernel's counters. They count every
 * program's packets, and the link's own, such as neighbour discovery; the loopback is left out.
 */
import { readFileSync } from 'node:fs'

export interface PacketCount {
  readonly received: number
  readonly sent: number
}

/** Since the interfaces came up; zeros where the kernel does not tell. */
export function readPackets(file = '/proc/net/dev'): PacketCount {
  let text = ''
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    // No Linux, or no leave to look.
  }
  let [received, sent] = [0, 0]
  for (const line of text.split('\n')) {
    const [name = '', counters] = line.split(':')
    if (counters === undefined || name.trim() === 'lo') continue
    // bytes packets errs drop fifo frame compressed multicast, twice: received, then sent.
    const fields = counters.trim().split(/\s+/).map(Number)
    received += fields[1] ?? 0
    sent += fields[9] ?? 0
  }
  return { received, sent }
}
