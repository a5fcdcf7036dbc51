import { streamPair } from '@libp2p/utils'

import { systemClock } from '../../node/env.ts'
import type { Clock } from '../../protocols/env.ts'
import {
  openChannel,
  type ByteStream,
  type Channel,
  type Protocol,
} from '../../protocols/wire/index.ts'

export interface ChannelEnd {
  readonly channel: Channel
  readonly stream: ByteStream & { close(): Promise<void>; abort(error: Error): void }
}

/** Two ends of one in-memory stream under the protocol's own limits. */
export async function channelPair(
  protocol: Protocol,
  clock: Clock = systemClock,
  signal: AbortSignal = new AbortController().signal,
): Promise<[ChannelEnd, ChannelEnd]> {
  const [a, b] = await streamPair({ protocol: protocol.id })
  return [
    { stream: a, channel: openChannel(a, protocol, clock, signal) },
    { stream: b, channel: openChannel(b, protocol, clock, signal) },
  ]
}
