/** Runs a gateway in this process: its device, the bridge beside it, and the socket that people ask. */
import {
  NodeError,
  Scope,
  startGatewayDevice,
  systemClock,
  systemRandom,
  type Config,
} from '../node/index.ts'
import { answersOf } from './answers.ts'
import { startBridge } from './bridge.ts'
import { gatewaySocket, serveLocal } from './local.ts'
import { readRules, rulesPath } from './rules.ts'

/** Run until `signal` aborts; after a reset, as a new device. @throws NodeError where it cannot start */
export async function runGateway(config: Config, signal: AbortSignal): Promise<void> {
  do {
    await runOnce(config, signal)
  } while (!signal.aborted)
}

async function runOnce(config: Config, signal: AbortSignal): Promise<void> {
  const path = rulesPath(config.paths.configFile)
  // A mistake is told before anything runs.
  await readRules(path)
  const scope = new Scope()
  try {
    const device = await scope.use('device', (until) =>
      startGatewayDevice(config, AbortSignal.any([signal, until])),
    )
    const { log } = device
    const self = device.devices().find((one) => one.self)
    if (self !== undefined && self.role !== 'gateway') {
      throw new NodeError('NODE_CONFLICT', `This device is in its home as ${self.role}.`, {
        hint: 'Nothing leaves. A gateway has its own folder: kith --data-dir DIR gateway up; or give it the role on an owner’s device: kith grant NAME gateway',
      })
    }
    const bridge = await scope.use('bridge', (until) =>
      startBridge(
        {
          device,
          clock: systemClock,
          random: systemRandom,
          log,
          dataDir: config.paths.dataDir,
          rulesPath: path,
        },
        AbortSignal.any([signal, until]),
      ),
    )
    const answers = answersOf({ device, bridge, clock: systemClock })
    await scope.use('gateway socket', () =>
      serveLocal(gatewaySocket(config.paths.socket), answers, log),
    )
    log.info({ rules: path }, 'gateway runs')
    await Promise.race([device.ended, aborted(signal)])
  } finally {
    await scope[Symbol.asyncDispose]()
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
