/** Starts a device with its local API, and opens the door of device/gateway.ts to it. */
import type { Config } from '../config.ts'
import { NodeError } from '../errors.ts'
import { startDevice } from '../main.ts'
import { gatewayOf } from './gateway-door.ts'
import type { GatewayDevice } from './gateway.ts'

/**
 * The device runs as under `kith up`: mesh, pairing, local API. It may have no home yet, or another
 * role; then there is nothing to carry.
 *
 * @throws NodeError where it cannot start
 */
export async function startGatewayDevice(
  config: Config,
  signal: AbortSignal,
): Promise<GatewayDevice> {
  const device = await startDevice(config, signal)
  const { node, version, log, reset } = device
  const stop = new AbortController()
  const door = gatewayOf(node, { version, log }, AbortSignal.any([signal, stop.signal]))
  return {
    ...door,
    ended: reset,
    async [Symbol.asyncDispose]() {
      stop.abort(new NodeError('NODE_CONFLICT', 'The gateway is stopping.'))
      await device[Symbol.asyncDispose]()
    },
  }
}
