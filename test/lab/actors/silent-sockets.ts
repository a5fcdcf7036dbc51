/**
 * `silent-sockets.ts HOST PORT HOLD-MS ADDRESS…` holds one TCP connection to HOST from each of its own
 * addresses, without ever sending a byte, closes it itself after HOLD-MS unless that is 0, and opens
 * each again as soon as it is closed. It prints
 * `held` when all were open once, and the number of connections that it made when it is asked to
 * end by the end of its standard input.
 */
import { connect } from 'node:net'

const [host = '', port = '', holdMs = '0', ...addresses] = process.argv.slice(2)
const AGAIN_AFTER_MS = 20
let made = 0
const held = new Set<string>()

function hold(localAddress: string): void {
  const socket = connect({ host, port: Number(port), localAddress })
  socket.on('connect', () => {
    made++
    if (held.size < addresses.length && held.add(localAddress).size === addresses.length) {
      process.stdout.write('held\n')
    }
  })
  if (holdMs !== '0') socket.on('connect', () => setTimeout(() => socket.destroy(), Number(holdMs)))
  socket.on('error', () => {})
  socket.on('close', () => setTimeout(hold, AGAIN_AFTER_MS, localAddress))
  socket.resume()
}

for (const address of addresses) hold(address)
process.stdin.on('end', () => process.stdout.write(`${made}\n`, () => process.exit())).resume()
