/** Two processes that hold a home, connected over the mesh. */
import { fileURLToPath } from 'node:url'

import { makePair } from './home.ts'
import { startProcess, type Measured } from './processes.ts'

const SIDE = fileURLToPath(new URL('./telemetry-side.ts', import.meta.url))

export interface ConnectedPair extends AsyncDisposable {
  readonly device: Measured
  readonly follower: Measured
}

/** Data folders under `root`; ready when the follower has greeted the device. */
export async function connectPair(root: string, port: number): Promise<ConnectedPair> {
  const places = await makePair(root, port)
  const start = ({ dir, port: on }: typeof places.device): Measured =>
    startProcess([SIDE, dir, String(on)])
  const [device, follower] = [start(places.device), start(places.follower)]
  await Promise.all([device.next('connected'), follower.next('connected')])
  return {
    device,
    follower,
    async [Symbol.asyncDispose]() {
      await Promise.all([device, follower].map((one) => one[Symbol.asyncDispose]()))
    },
  }
}
