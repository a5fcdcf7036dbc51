/**
 * The system's own mDNS daemon in a device's namespace: avahi with a message bus of its own, beside
 * Kith on port 5353. A process in a world of namespaces has a mount namespace of its own, and one
 * user, root: so avahi is shown a private list of users in which its own is that one.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { text } from 'node:stream/consumers'

import { findProgram } from '../helpers/tools.ts'
import type { World } from './netns.ts'
import { until } from './until.ts'

/** One line of `avahi-browse --parsable`. */
export interface Found {
  readonly event: '+' | '-' | '='
  readonly interface: string
  readonly protocol: string
  readonly instance: string
  readonly type: string
  /** With `resolve`. */
  readonly host?: string
  readonly address?: string
  readonly port?: number
  readonly txt?: string
}

export interface Avahi {
  /** What avahi knows after a moment of asking; resolved ones with address, port and text. */
  browse(type: string): Promise<readonly Found[]>
}

const START_LIMIT_MS = 10_000
const BROWSE_LIMIT_MS = 8000

const BUS_CONFIG = (socket: string): string => `<busconfig>
  <type>system</type>
  <listen>unix:path=${socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
`

const AVAHI_CONFIG = (name: string): string => `[server]
host-name=${name}
use-ipv4=yes
use-ipv6=yes
enable-dbus=yes
disallow-other-stacks=no
[wide-area]
enable-wide-area=no
[publish]
publish-addresses=yes
publish-workstation=no
`

/** `=;eth0;IPv6;name;type;domain;host;address;port;text`; the last four where it was resolved. */
function parse(line: string): Found {
  const [event = '', on = '', protocol = '', instance = '', type = '', , ...resolved] =
    line.split(';')
  const [host, address, port, ...txt] = resolved
  const found = { event, interface: on, protocol, instance, type } as Found
  if (host === undefined || address === undefined) return found
  return { ...found, host, address, port: Number(port), txt: txt.join(';') }
}

/** Runs until the world ends. `folder` is the caller's own; a socket's path must fit into it. */
export async function startAvahi(world: World, device: string, folder: string): Promise<Avahi> {
  const own = path.join(folder, `avahi-${device}`)
  await mkdir(own, { recursive: true })
  const socket = path.join(own, 'bus')
  const busConfig = path.join(own, 'bus.conf')
  const avahiConfig = path.join(own, 'avahi.conf')
  await writeFile(busConfig, BUS_CONFIG(socket))
  await writeFile(avahiConfig, AVAHI_CONFIG(device))
  const env = { ...process.env, DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${socket}` }
  const log: string[] = []

  async function browse(type: string): Promise<readonly Found[]> {
    const command = ['avahi-browse', '--parsable', '--resolve', '--terminate', type]
    const child = world.spawn(device, command, { stdio: ['ignore', 'pipe', 'pipe'], env })
    const limit = setTimeout(() => child.kill(), BROWSE_LIMIT_MS)
    const said = child.stdout === null ? '' : await text(child.stdout)
    clearTimeout(limit)
    return said
      .split('\n')
      .filter((line) => line !== '')
      .map(parse)
  }

  await writeFile(path.join(own, 'passwd'), 'root:x:0:0::/:/bin/sh\navahi:x:0:0::/:/bin/false\n')
  await writeFile(path.join(own, 'group'), 'root:x:0:\navahi:x:0:\nnetdev:x:0:\n')
  const bus = [findProgram('dbus-daemon'), `--config-file=${busConfig}`, '--nofork', '--nopidfile']
  const daemon = [findProgram('avahi-daemon'), '--no-drop-root', '--no-chroot', '--no-rlimits']
  const script = `
    mount --bind ${own}/passwd /etc/passwd
    mount --bind ${own}/group /etc/group
    mount -t tmpfs tmpfs /run
    setpriv --pdeathsig KILL ${bus.join(' ')} &
    until [ -S ${socket} ]; do sleep 0.05; done
    exec ${daemon.join(' ')} --file=${avahiConfig}`
  const child = world.spawn(device, ['sh', '-ec', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env,
  })
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (line: string) => log.push(line))
  }
  await until(
    `avahi runs beside ${device}`,
    START_LIMIT_MS,
    () => /Server startup complete/.test(log.join('')),
    () => log.join(''),
  )
  return { browse }
}
