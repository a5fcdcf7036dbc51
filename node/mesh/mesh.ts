/**
 * The mesh as services see it: greeted connections between members, and streams over them. The parts
 * are joined in mesh-node.ts; this file has what crosses the boundary.
 */
import type { DatabaseSync } from 'node:sqlite'

import type { Logger } from 'pino'

import type { Channel, Protocol } from '../../protocols/wire/index.ts'
import type { Clock, Random } from '../env.ts'
import type { Emitter } from '../events.ts'
import { joinMesh } from './mesh-node.ts'

export interface MeshPeer {
  /** Ed25519 public key, 32 bytes, as Noise proved it. */
  readonly key: Uint8Array
  /** The multiaddr in use, with our zone where it is link-local. */
  readonly address: string
  readonly direction: 'inbound' | 'outbound'
  /** Monotonic time at which the greeting succeeded. */
  readonly sinceMs: number
}

export interface MeshEvents extends Record<string, unknown> {
  /** The greeting succeeded on the first connection to this peer. */
  connect: { readonly key: Uint8Array }
  /** The last greeted connection to this peer is gone. */
  disconnect: { readonly key: Uint8Array }
  /** A member was announced on the LAN at these addresses. Unverified: discovery proves nothing. */
  seen: { readonly key: Uint8Array; readonly addresses: readonly string[] }
  /** Someone was turned away. At most a few a second; `refusedCount` has the true number. */
  refused: { readonly key: Uint8Array | undefined; readonly address: string; readonly why: string }
}

export interface MeshStream extends AsyncDisposable {
  readonly channel: Channel
  /** Aborts when the stream or its connection is gone. */
  readonly signal: AbortSignal
  /** Reset the stream at once. */
  abort(error: Error): void
}

export type MeshHandler = (channel: Channel, peer: Uint8Array, signal: AbortSignal) => Promise<void>

export interface Mesh extends AsyncDisposable {
  /** Our public key, 32 bytes. */
  readonly key: Uint8Array
  readonly events: Emitter<MeshEvents>
  /** False where no interface could join the discovery group: use `directPeers`. */
  readonly multicast: boolean
  /** How many were turned away since the start. */
  readonly refusedCount: number
  /** Serve `protocol` to members; inbound streams wait until their connection was greeted. */
  serve(protocol: Protocol, handle: MeshHandler): Promise<void>
  /**
   * Open a stream to a member, connected or dialable. Disposing closes it; `signal` bounds its whole
   * life, not the opening alone.
   *
   * @throws NodeError NODE_DENIED where `peer` is no member, NODE_TIMEOUT after 10 s without a
   * connection, at once where it sleeps; the signal's reason
   */
  open(peer: Uint8Array, protocol: Protocol, signal: AbortSignal): Promise<MeshStream>
  /** Greeted peers, one entry each. */
  peers(): readonly MeshPeer[]
  /** Our listening multiaddrs, link-local ones with their zone: for people, never for the wire. */
  addresses(): readonly string[]
  /**
   * The keys that may connect. Others are refused before protocols are listed; open connections of
   * keys that are no longer in it are cut before this returns.
   */
  setMembers(keys: readonly Uint8Array[]): void
  /** Abort every connection to `key`. A member is dialled again later. */
  cut(key: Uint8Array): void
  /**
   * The members that sleep most of the time. They dial when they wake, so they are not dialled again
   * and again, nor looked for.
   */
  setSleepers(keys: readonly Uint8Array[]): void
  /** Dial a member now, where it is known to be, if it is not connected. */
  want(key: Uint8Array): void
  /** What our connections have cost since the start. */
  traffic(): Traffic
}

export interface Traffic {
  /** At our TCP sockets: without the headers of TCP, IP and the link, and without discovery. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** Time with a connection open, greeted or not. */
  readonly connectedMs: number
}

export interface MeshOptions {
  /** Ed25519 seed, 32 bytes. */
  readonly seed: Uint8Array
  /** TCP port; an ephemeral one where it is taken or 0. */
  readonly port: number
  /** Only these interfaces; all where absent. */
  readonly interfaces?: readonly string[]
  readonly multicast: boolean
  /**
   * For a device that is awake for a moment: nobody can dial it, it announces nothing, and it dials
   * nobody but those who are wanted, those at once. With `multicast` it looks for them too.
   */
  readonly brief?: boolean
  /** Multiaddrs to try without discovery; each ends in `/p2p/<id>`. */
  readonly directPeers?: readonly string[]
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly datastoreDb?: DatabaseSync
  /** Runs on every new connection before anything else may use it. Throwing closes the connection. */
  readonly greet: {
    readonly protocol: Protocol
    readonly run: (channel: Channel, peer: Uint8Array, side: 'dialer' | 'listener') => Promise<void>
  }
}

/** Listening and looking for members when this resolves; nobody is one until `setMembers`. */
export function startMesh(options: MeshOptions, signal: AbortSignal): Promise<Mesh> {
  return joinMesh(options, signal)
}
