/** A mosquitto of the benchmark's own: TLS 1.3 with a certificate made for it, nothing on disk. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import path from 'node:path'

import { untilUp } from './home.ts'

export interface Broker extends AsyncDisposable {
  readonly pid: number
  readonly port: number
  readonly caFile: string
}

const PORT = 8883

export function hasBroker(): boolean {
  try {
    execFileSync('sh', ['-c', 'command -v mosquitto && command -v openssl'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Files under `dir`; what was there before is the certificate again. Every setting that differs from the defaults makes it faster. */
export async function startBroker(dir: string): Promise<Broker> {
  const caFile = path.join(dir, 'cert.pem')
  const keyFile = path.join(dir, 'key.pem')
  if (!existsSync(caFile)) makeCertificate(caFile, keyFile)
  const config = path.join(dir, 'mosquitto.conf')
  const settings = [
    `listener ${PORT} ::1`,
    `certfile ${caFile}`,
    `keyfile ${keyFile}`,
    'tls_version tlsv1.3',
    'allow_anonymous true',
    'persistence false',
    'set_tcp_nodelay true',
    'max_inflight_messages 0',
    'max_queued_messages 0',
    'log_type none',
    'user root',
  ]
  await writeFile(config, `${settings.join('\n')}\n`)
  const child = spawn('mosquitto', ['-c', config], { stdio: ['ignore', 'ignore', 'inherit'] })
  await untilUp(async () => {
    const socket = connect(PORT, '::1')
    await once(socket, 'connect')
    socket.destroy()
  })
  return {
    pid: child.pid ?? 0,
    port: PORT,
    caFile,
    async [Symbol.asyncDispose]() {
      const gone = once(child, 'exit')
      child.kill('SIGTERM')
      await gone
    },
  }
}

/** For localhost, by openssl. */
export function makeCertificate(certFile: string, keyFile: string): void {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const name = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:::1']
  const files = ['-keyout', keyFile, '-out', certFile]
  execFileSync('openssl', ['req', '-x509', ...key, ...name, '-days', '2', ...files], {
    stdio: 'ignore',
  })
}
