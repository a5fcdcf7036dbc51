/** Bytes that the network interfaces of this namespace have carried. */
import { readFileSync } from 'node:fs'

/** Received by all interfaces, link headers included: each packet counts once, where it arrives. */
export function receivedBytes(): number {
  const lines = readFileSync('/proc/net/dev', 'latin1').split('\n').slice(2)
  return lines.reduce((sum, line) => {
    const fields = line.slice(line.indexOf(':') + 1).trim()
    return fields === '' ? sum : sum + Number(fields.split(/\s+/)[0])
  }, 0)
}
