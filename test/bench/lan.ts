/**
 * A network of the benchmark's own: a namespace with loopback and one veth cable, IPv6 link-local
 * addresses and multicast. Nothing in it reaches the machine's real interfaces.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import process from 'node:process'

const INSIDE = 'KITH_BENCH_LAN'
/** Debian keeps network tools where an ordinary user's PATH does not look. */
const SBIN = ['/usr/local/sbin', '/usr/sbin', '/sbin']

/** Processes in a namespace of their own too: none outlives the benchmark. */
const FLAGS = [
  '--map-root-user',
  '--net',
  '--mount',
  '--pid',
  '--fork',
  '--mount-proc',
  '--kill-child',
]

/** `exec "$@"` last: the shell is replaced, and signals reach the benchmark. */
const SCRIPT = `
ip link set lo up
ip link add lan0 type veth peer name lan1
for end in lan0 lan1; do
  echo 0 > /proc/sys/net/ipv6/conf/$end/accept_dad
  ip link set $end up
done
exec "$@"`

export function isOnLan(): boolean {
  return process.env[INSIDE] === '1'
}

/** Run this program again on a LAN of its own; its exit code. */
export async function runOnLan(): Promise<number> {
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  const child = spawn('unshare', [...FLAGS, 'sh', '-ec', SCRIPT, 'sh', ...again], {
    stdio: 'inherit',
    env: {
      ...process.env,
      [INSIDE]: '1',
      PATH: [process.env['PATH'], ...SBIN].join(path.delimiter),
    },
  })
  const [code] = (await once(child, 'exit')) as [number | null]
  return code ?? 1
}
