/** `trap.ts PORT` listens on loopback and prints, at the end of its standard input, who came. */
import { once } from 'node:events'
import { createServer } from 'node:net'

let came = 0
const server = createServer((socket) => {
  came++
  socket.destroy()
})
server.listen(Number(process.argv[2]), '::')
await once(server, 'listening')
process.stdout.write('ready\n')
process.stdin.on('end', () => process.stdout.write(`${came}\n`, () => process.exit())).resume()
