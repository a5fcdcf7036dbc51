/** What the home changes: its devices, their names and states, what they offer, and signatures. */
import type { Clock, GatewayDevice } from '../node/index.ts'
import type { Directory } from './directory.ts'

interface FollowDeps {
  readonly device: GatewayDevice
  readonly directory: Directory
  readonly clock: Clock
  readonly renew: () => void
}

/** Until `signal` aborts. */
export function follow({ device, directory, clock, renew }: FollowDeps, signal: AbortSignal): void {
  const describe = (id: string): void => {
    void device.describe(id, signal).then(
      (model) => {
        directory.describe(id, model)
        renew()
      },
      // It is away, or tells nothing: asked again when it is back.
      () => undefined,
    )
  }
  const { events } = device
  events.on(
    'device',
    ({ id, state, self, dueAtMs }) => {
      if (state === 'asleep' && dueAtMs !== undefined) directory.sleeps(id, dueAtMs - clock.now())
      if (state === 'online' && !self) describe(id)
      renew()
    },
    signal,
  )
  events.on(
    'removed',
    ({ id }) => {
      directory.forget(id)
      renew()
    },
    signal,
  )
  const describeAll = (): void => {
    for (const { id, self, state } of device.devices()) {
      if (!self && state === 'online') describe(id)
    }
  }
  events.on(
    'policy',
    () => {
      renew()
      // Devices describe what the asker may use, which is another now.
      describeAll()
    },
    signal,
  )
  events.on('home', () => renew(), signal)
  describeAll()
}
