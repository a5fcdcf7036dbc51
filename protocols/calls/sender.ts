import type { Channel, Message } from '../wire/index.ts'

/**
 * Send from many hands over one channel: one frame at a time, in the order of the calls, so that
 * only one waits for the network. @throws as `Channel.send`
 */
export function senderOf<T>(channel: Channel, message: Message<T>): (value: T) => Promise<void> {
  let before: Promise<unknown> = Promise.resolve()
  return (value) => {
    const sent = before.then(() => channel.send(message, value))
    before = sent.catch(() => undefined)
    return sent
  }
}
