/** The rules and the signature as they are at this moment, taken together; who depends on them is told. */
import type { GatewayDevice, Logger } from '../node/index.ts'
import { NO_RULES, type GatewaySettings } from './config.ts'
import { policyOf, type Policy } from './policy.ts'

export interface InForce {
  settings(): GatewaySettings
  policy(): Policy
  /** With other rules, or where the signature or the devices are others. */
  renew(settings?: GatewaySettings): void
  /** After each time. */
  onChange(listener: (settings: GatewaySettings) => void): void
}

interface Deps {
  readonly device: Pick<GatewayDevice, 'devices' | 'home' | 'policy'>
  readonly log: Logger
}

export function createInForce({ device, log }: Deps): InForce {
  let settings = NO_RULES
  let policy = policyOf(NO_RULES, [], [])
  let listener: ((settings: GatewaySettings) => void) | undefined
  return {
    settings: () => settings,
    policy: () => policy,
    renew(next = settings) {
      settings = next
      const before = policy.refusals.map(({ why }) => why)
      policy = policyOf(settings, device.policy().caps, device.devices())
      // Without a home there is nobody to sign, and no device that a rule could name.
      if (device.home() !== undefined) tellRefusals(policy, before, log)
      listener?.(settings)
    },
    onChange(next) {
      listener = next
    },
  }
}

/** Sentences that were not said before. */
function tellRefusals(policy: Policy, before: readonly string[], log: Logger): void {
  for (const { rule, sink, why } of policy.refusals) {
    if (!before.includes(why)) log.warn({ rule, sink, why }, 'a rule is not in force')
  }
}
