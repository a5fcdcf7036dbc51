/** Programs that a lab runs in a namespace beside its devices. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

import type { World } from './netns.ts'

const ACTORS = {
  'mdns-flood': new URL('actors/mdns-flood.ts', import.meta.url),
  'plain-libp2p': new URL('actors/plain-libp2p.ts', import.meta.url),
  'rogue-member': new URL('actors/rogue-member.ts', import.meta.url),
  'silent-sockets': new URL('actors/silent-sockets.ts', import.meta.url),
  trap: new URL('actors/trap.ts', import.meta.url),
} as const

export interface Actor {
  /** The next line that it prints. @throws Error where it has ended */
  line(): Promise<string>
  /** Close its standard input and wait for its last line. */
  finish(): Promise<string>
}

/** Start an actor; it ends with the world at the latest. */
export function startActor(
  world: World,
  device: string,
  name: keyof typeof ACTORS,
  args: readonly string[],
): Actor {
  const file = fileURLToPath(ACTORS[name])
  const child: ChildProcess = world.spawn(device, [process.execPath, file, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  if (child.stdout === null) throw new Error('no output')
  const ended = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()

  async function line(): Promise<string> {
    const next = await lines.next()
    if (next.done === true) throw new Error(`${name} has ended`)
    return next.value
  }

  return {
    line,
    async finish() {
      child.stdin?.end()
      const last = await line()
      await ended
      return last
    },
  }
}
