/**
 * Who may connect. A stranger is turned away right after Noise has proved its key, before any
 * protocol is named, so it costs one handshake; and handshakes are rationed. Addresses from which a
 * member was last heard do not count against the ration, so a flood cannot keep members out.
 */
import type { ConnectionGater, MultiaddrConnection, PeerId } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'

import type { Clock } from '../env.ts'
import { hostOf } from './addresses.ts'
import { createBudget } from './budget.ts'

export interface Refusal {
  /** Public key, 32 bytes, where Noise proved one of our kind. */
  readonly key: Uint8Array | undefined
  readonly address: string
  readonly why: string
}

export interface Gater {
  readonly gater: ConnectionGater
  readonly refusedCount: number
  /** Peer ids. */
  setMembers(peers: ReadonlySet<string>): void
  isMember(peer: string): boolean
  /** A member was heard from this host. */
  trustHost(host: string): void
  /** The ration of handshakes: undefined refuses, else call it when the handshake has ended. */
  admit(remote: Multiaddr): (() => void) | undefined
}

/** Strangers in the middle of a handshake; the rest of libp2p's 64 is left to known hosts. */
const MAX_PENDING_STRANGERS = 48
/** A handshake costs 5 ms: strangers get at most an eighth of a core. */
const STRANGERS_PER_SECOND = 24
const STRANGER_BURST = 64
/** Refusals reported; all are counted. */
const REPORTS_PER_SECOND = 1
const REPORT_BURST = 10
const MAX_TRUSTED_HOSTS = 512

export function createGater(clock: Clock, onRefused: (refusal: Refusal) => void): Gater {
  const strangers = createBudget(clock, STRANGERS_PER_SECOND, STRANGER_BURST)
  const reports = createBudget(clock, REPORTS_PER_SECOND, REPORT_BURST)
  const trusted = new Set<string>()
  let members: ReadonlySet<string> = new Set()
  let pending = 0
  let refusedCount = 0

  function refuse(refusal: Refusal): void {
    refusedCount++
    if (reports.take()) onRefused(refusal)
  }

  const denyStranger = (peer: PeerId, connection: MultiaddrConnection): boolean => {
    if (members.has(peer.toString())) return false
    const address = connection.remoteAddr.toString()
    const key = peer.type === 'Ed25519' ? Uint8Array.from(peer.publicKey.raw) : undefined
    refuse({ key, address, why: 'not a member' })
    return true
  }

  return {
    gater: {
      denyDialPeer: (peer) => !members.has(peer.toString()),
      denyInboundEncryptedConnection: denyStranger,
      denyOutboundEncryptedConnection: denyStranger,
    },
    get refusedCount() {
      return refusedCount
    },
    setMembers(peers) {
      members = peers
    },
    isMember: (peer) => members.has(peer),
    trustHost(host) {
      trusted.delete(host)
      trusted.add(host)
      if (trusted.size > MAX_TRUSTED_HOSTS)
        for (const first of trusted) return void trusted.delete(first)
    },
    admit(remote) {
      if (trusted.has(hostOf(remote))) return () => {}
      if (pending >= MAX_PENDING_STRANGERS || !strangers.take()) {
        refuse({ key: undefined, address: remote.toString(), why: 'too many handshakes' })
        return undefined
      }
      pending++
      return () => void pending--
    },
  }
}
