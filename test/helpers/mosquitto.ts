import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

import { connectAsync, type MqttClient } from 'mqtt'

import type { Tree } from './sensors.ts'
import { findProgram } from './tools.ts'

export interface Broker extends AsyncDisposable {
  readonly port: number
  /** A client for tests, which reaches it as anybody would. */
  client(): Promise<MqttClient>
  kill(): Promise<void>
  /** It stays, and does nothing, until it goes on. */
  stall(): void
  goOn(): void
  /** Again, on the same port, with nothing kept. */
  restart(): Promise<void>
}

export interface BrokerOptions {
  /** More lines of mosquitto.conf. */
  readonly lines?: readonly string[]
  readonly client?: () => Parameters<typeof connectAsync>[1]
  readonly tls?: boolean
}

/** A real mosquitto on ::1. Its files are in `files`, and go with them. */
export async function startBroker(
  files: Tree,
  { lines = ['allow_anonymous true'], client = () => ({}), tls = false }: BrokerOptions = {},
): Promise<Broker> {
  const port = await freePort()
  const config = files.write(
    `broker-${port}.conf`,
    [
      `listener ${port} ::1`,
      'persistence false',
      'log_dest stderr',
      'user root',
      ...lines,
      '',
    ].join('\n'),
  )
  let child = await start(config)
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  return {
    port,
    client: () =>
      connectAsync(`${tls ? 'mqtts' : 'mqtt'}://[::1]:${port}`, {
        reconnectPeriod: 0,
        ...client(),
      }),
    kill,
    stall: () => void child.kill('SIGSTOP'),
    goOn: () => void child.kill('SIGCONT'),
    async restart() {
      await kill()
      child = await start(config)
    },
    [Symbol.asyncDispose]: kill,
  }
}

async function start(config: string): Promise<ChildProcess> {
  const child = spawn(findProgram('mosquitto') ?? 'mosquitto', ['-c', config], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const said: string[] = []
  for await (const line of createInterface({ input: child.stderr })) {
    said.push(line)
    if (line.endsWith(' running')) {
      child.stderr.resume()
      return child
    }
  }
  throw new Error(`mosquitto did not start: ${said.join('\n')}`)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '::1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** An authority's and a server's certificate for one address. */
export function makeCertificates(
  files: Tree,
  address = '::1',
): { ca: string; cert: string; key: string } {
  const at = (name: string): string => join(files.root, name)
  const openssl = (line: string): void => {
    const { status, stderr } = spawnSync('openssl', line.split(' '), { encoding: 'utf8' })
    if (status !== 0) throw new Error(stderr)
  }
  const fresh = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
  const extensions = files.write('ext', `subjectAltName=IP:${address}\n`)
  openssl(`req -x509 ${fresh} -days 2 -subj /CN=authority -keyout ${at('ca.key')} -out ${at('ca')}`)
  openssl(`req ${fresh} -subj /CN=broker -keyout ${at('key')} -out ${at('csr')}`)
  openssl(
    `x509 -req -in ${at('csr')} -CA ${at('ca')} -CAkey ${at('ca.key')} -CAcreateserial -days 2 -extfile ${extensions} -out ${at('cert')}`,
  )
  return { ca: at('ca'), cert: at('cert'), key: at('key') }
}
