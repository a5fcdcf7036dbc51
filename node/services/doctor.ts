/**
 * Looks for what keeps a device from being found, trusted or heard, and names the cause and the
 * cure. It reads; it never changes anything.
 */
import { statfs } from 'node:fs/promises'
import { networkInterfaces, type NetworkInterfaceInfo } from 'node:os'

import { NEWS } from '../../protocols/members/index.ts'
import type { Clock } from '../env.ts'
import { OLDEST_PLAUSIBLE_MS, type ClockTrust } from '../timekeeper.ts'

export interface Check {
  readonly check: string
  readonly ok: boolean
  /** What was found. */
  readonly cause: string
  /** What to do about it; empty where it is ok. */
  readonly cure: string
}

/** What the checks look at. Everything is read at the time of the call. */
export interface Patient {
  readonly clock: Clock
  readonly dataDir: string
  readonly interfaces?: () => NodeJS.Dict<NetworkInterfaceInfo[]>
  /** Undefined where the mesh does not run, because there is no home yet. */
  mesh():
    | {
        readonly multicast: boolean
        readonly addresses: readonly string[]
        /** Connected members, and all others; `announced` ones were seen on the LAN lately. */
        readonly connected: number
        readonly absent: readonly { readonly name: string; readonly announced: boolean }[]
      }
    | undefined
  /** The home removed this device. */
  removed(): boolean
  /** It was restored from a backup, and the home does not know its key yet. */
  restored(): boolean
  /** When an owner's word came last, UTC milliseconds; undefined where no such word is needed. */
  newsMs(): number | undefined
  readonly multicastWanted: boolean
  readonly port: number
  /** Undefined without a home. */
  time():
    | {
        readonly quality: ClockTrust
        /** The true time is not before this. */
        readonly floorMs: number
        /** Own packs from before the time was known. */
        readonly unplaced: number
      }
    | undefined
}

const LOW_DISK_BYTES = 64 * 2 ** 20
const DAY_MS = 86_400_000
/** As in SPEC.md of members, "Checkpoints and news". */
const STALE_DAYS = NEWS.staleMs / DAY_MS

export async function examine(patient: Patient): Promise<readonly Check[]> {
  return [
    checkAddress(patient),
    checkHome(patient),
    checkPort(patient),
    checkMulticast(patient),
    checkPeers(patient),
    checkNews(patient),
    checkClock(patient),
    await checkDisk(patient),
  ]
}

function ok(check: string, cause: string): Check {
  return { check, ok: true, cause, cure: '' }
}

function bad(check: string, cause: string, cure: string): Check {
  return { check, ok: false, cause, cure }
}

function checkAddress({ interfaces = networkInterfaces }: Patient): Check {
  const found = Object.entries(interfaces()).flatMap(([name, addresses]) =>
    (addresses ?? [])
      .filter(({ family, internal }) => family === 'IPv6' && !internal)
      .map(({ address }) => `${address} on ${name}`),
  )
  if (found.length > 0) return ok('address', found.join(', '))
  return bad(
    'address',
    'No network interface of this machine has an IPv6 address, not even a link-local one.',
    'Plug in the cable or join the Wi-Fi. If that is done, IPv6 is switched off here: set net.ipv6.conf.all.disable_ipv6 = 0 with sysctl.',
  )
}

function checkHome(patient: Patient): Check {
  if (patient.removed()) {
    return bad(
      'home',
      'This device was removed from its home. It publishes nothing, and no other device talks to it.',
      'To use it again, reset it with "kith reset" and pair it anew with "kith pair".',
    )
  }
  if (patient.restored()) {
    return bad(
      'home',
      'This device was restored: it knows its home, but the home does not know it yet.',
      'Pair it again: "kith pair" here, "kith add" on an owner’s device. Where there is no owner any more: kith recover.',
    )
  }
  if (patient.mesh() !== undefined) return ok('home', 'This device is in a home.')
  return bad(
    'home',
    'This device has no home yet, so it talks to nobody.',
    'Make a home here with "kith home create NAME", or add this device to one with "kith pair".',
  )
}

function checkPort(patient: Patient): Check {
  const mesh = patient.mesh()
  if (mesh === undefined) return ok('port', 'Not in use without a home.')
  if (mesh.addresses.length === 0) {
    return bad(
      'port',
      'The mesh listens nowhere.',
      'Restart Kith; its log says what is in the way.',
    )
  }
  const elsewhere =
    patient.port !== 0 && !mesh.addresses.some((one) => one.includes(`/tcp/${patient.port}`))
  if (!elsewhere) return ok('port', mesh.addresses.map(withoutPeer).join(', '))
  return bad(
    'port',
    `Port ${patient.port} was taken; the mesh listens on another one.`,
    'Devices still find it. If a firewall allows only the usual port, stop the program that holds it, or set mesh.port.',
  )
}

/** Every address ends in this device's own peer id; it says nothing here. */
function withoutPeer(address: string): string {
  return address.replace(/\/p2p\/[^/]+$/, '')
}

function checkMulticast(patient: Patient): Check {
  const mesh = patient.mesh()
  if (!patient.multicastWanted) {
    return ok('multicast', 'Switched off (mesh.multicast); neighbours are dialled directly.')
  }
  if (mesh === undefined) return ok('multicast', 'Not in use without a home.')
  if (mesh.multicast) return ok('multicast', 'Listening to ff02::fb, UDP port 5353.')
  return bad(
    'multicast',
    'No network interface could join the multicast group ff02::fb.',
    'Connect to a network that carries multicast, or name the other devices in mesh.peers.',
  )
}

function checkPeers(patient: Patient): Check {
  const mesh = patient.mesh()
  if (mesh === undefined) return ok('peers', 'None without a home.')
  // The cause stands under "home" already; a firewall has no part in it.
  if (patient.removed()) return ok('peers', 'None: this device was removed from its home.')
  if (patient.restored()) return ok('peers', 'None until it is paired again.')
  const total = mesh.connected + mesh.absent.length
  if (total === 0) return ok('peers', 'This is the only device of the home.')
  const names = (announced: boolean): string =>
    mesh.absent
      .filter((one) => one.announced === announced)
      .map(({ name }) => name)
      .join(', ')
  const found = `${mesh.connected} of ${total} other devices connected.`
  if (names(true) !== '') {
    return bad(
      'peers',
      `${found} On the network but not reachable: ${names(true)}.`,
      'A firewall is in the way, there or here: allow TCP from the local network to the mesh port (4646). If the device was removed from the home meanwhile, pair it again.',
    )
  }
  if (mesh.connected > 0 || names(false) === '') return ok('peers', found)
  return bad(
    'peers',
    `${found} Not seen on the network: ${names(false)}.`,
    'Check that they are switched on and on the same network. Some Wi-Fi access points keep devices apart ("client isolation") or drop multicast: switch that off. Allow UDP 5353.',
  )
}

function checkNews(patient: Patient): Check {
  const newsMs = patient.newsMs()
  if (newsMs === undefined)
    return ok('membership', 'As far as this device can know, it is up to date.')
  const last = new Date(newsMs).toISOString()
  const days = Math.floor((patient.clock.now() - newsMs) / DAY_MS)
  if (days < STALE_DAYS) return ok('membership', `An owner was heard of last at ${last}.`)
  return bad(
    'membership',
    `The membership may be stale: nothing was heard of an owner for ${days} days, since ${last}. A device may have been added or removed without this one knowing.`,
    'Switch an owner’s device on where this one, or one that it reaches, can meet it. If owners’ devices were on all the time, a device between them may be holding news back: see "peers", and connect to an owner directly.',
  )
}

function checkClock(patient: Patient): Check {
  const now = patient.clock.now()
  const shown = new Date(now).toISOString()
  const { quality, floorMs, unplaced } = patient.time() ?? {
    quality: now < OLDEST_PLAUSIBLE_MS ? 'unset' : 'unsynced',
    floorMs: OLDEST_PLAUSIBLE_MS,
    unplaced: 0,
  }
  const waiting = unplaced === 0 ? '' : ` ${unplaced} packs of readings wait for their time.`
  if (quality === 'synced') return ok('clock', `${shown}, from a time source.${waiting}`)
  if (quality === 'unsynced') {
    return ok('clock', `${shown}; no time source is known to keep it right.${waiting}`)
  }
  const floor = new Date(floorMs).toISOString()
  const seen =
    now < floorMs
      ? `This device's clock says ${shown}, but it is at least ${floor}.`
      : `This device started with a wrong clock, and nothing has set it since; it says ${shown}.`
  return bad(
    'clock',
    `${seen}${waiting}`,
    'Set the clock, or let it be set: timedatectl set-ntp true. Readings taken meanwhile are kept, and get their times when the clock is right.',
  )
}

async function checkDisk({ dataDir }: Patient): Promise<Check> {
  const { bavail, bsize } = await statfs(dataDir)
  const free = bavail * bsize
  const shown = `${Math.floor(free / 2 ** 20)} MiB free at ${dataDir}`
  if (free >= LOW_DISK_BYTES) return ok('disk', shown)
  return bad(
    'disk',
    `Only ${shown}.`,
    'Free some space, or lower telemetry.max_bytes. The oldest readings go first; the newest are kept.',
  )
}
