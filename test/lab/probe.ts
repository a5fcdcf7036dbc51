/**
 * Shows that a namespace carries what Kith needs: multicast to ff02::fb and TCP over link-local
 * addresses with zones. `probe.ts answer IFACE` answers until it is killed; `probe.ts ask IFACE`
 * prints what it was told, and by whom.
 */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

const GROUP = 'ff02::fb'
const PORT = 5353

async function multicast(name: string): Promise<Socket> {
  const socket = createSocket({ type: 'udp6', reuseAddr: true, ipv6Only: true })
  socket.bind(PORT, '::')
  await once(socket, 'listening')
  socket.addMembership(GROUP, `::%${name}`)
  socket.setMulticastInterface(`::%${name}`)
  return socket
}

async function answer(name: string): Promise<void> {
  const server = createServer((socket) => socket.end(`hello ${socket.remoteAddress ?? ''}`))
  server.listen(0, '::')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const socket = await multicast(name)
  socket.on('message', (message, from) => {
    if (message.toString() === 'who') socket.send(`at ${port}`, from.port, from.address)
  })
  process.stdout.write('ready\n')
}

async function ask(name: string): Promise<void> {
  const socket = await multicast(name)
  const reply = new Promise<{ port: number; host: string }>((resolve) => {
    socket.on('message', (message, from) => {
      const [word, port] = message.toString().split(' ')
      if (word === 'at') resolve({ port: Number(port), host: from.address })
    })
  })
  const again = setInterval(() => socket.send('who', PORT, `${GROUP}%${name}`), 200)
  const { port, host } = await reply
  clearInterval(again)
  socket.close()
  process.stdout.write(`${host} says: ${await text(connect({ host, port }))}\n`)
}

const [role, name = 'eth0'] = process.argv.slice(2)
await (role === 'answer' ? answer(name) : ask(name))
