/** The driver and the model of each property of the settings. */
import { compileInput, type Check, type PropertyModel } from '../../../protocols/calls/index.ts'
import { valueOfProperty, type PropertySettings } from '../../config-properties.ts'
import type { Clock } from '../../env.ts'
import type { Brokers } from '../../machine/brokers.ts'
import { createQueue, type Queue } from '../../machine/queue.ts'
import type { Driver, Scalar } from './actuator.ts'
import { gpioDriver } from './gpio.ts'
import { commandDriver, httpDriver, mqttDriver } from './outside.ts'
import { fileDriver, ledDriver, pinFile, pwmDriver } from './sysfs.ts'
import { schemaOf } from './values.ts'

export interface DriverDeps {
  /** Where /sys and /usr are found. */
  readonly root: string
  readonly clock: Clock
  readonly brokers: Brokers
}

export interface Property {
  readonly settings: PropertySettings
  readonly driver: Driver
  readonly model: PropertyModel
  readonly check: Check
  /** One thing at a time. */
  readonly queue: Queue
  /** What it was set to or said last. */
  last: Scalar | undefined
  /** Why it does not work, for people. */
  problem: string | undefined
}

export function propertyFrom(settings: PropertySettings, deps: DriverDeps): Property {
  const driver = driverOf(settings, deps)
  const { description, coalesce } = settings
  const readable = driver.read !== undefined
  const writable = driver.write !== undefined
  const schema = schemaOf({ ...valueOfProperty(settings), description: undefined })
  return {
    settings,
    driver,
    model: {
      schema,
      readable,
      writable,
      observable: readable,
      coalesce,
      ...(description === undefined ? {} : { description }),
    },
    check: compileInput(schema),
    queue: createQueue(),
    last: undefined,
    problem: undefined,
  }
}

function driverOf(settings: PropertySettings, deps: DriverDeps): Driver {
  switch (settings.type) {
    case 'gpio': {
      const { line, path } = settings
      if (line !== undefined) return gpioDriver({ ...settings, line }, deps)
      return pinFile(path ?? '', settings)
    }
    case 'led':
      return ledDriver(settings, deps.root)
    case 'pwm':
      return pwmDriver(settings, deps.root)
    case 'file':
      return fileDriver(settings)
    case 'command':
      return commandDriver(settings, deps)
    case 'http':
      return httpDriver(settings, deps)
    case 'mqtt':
      return mqttDriver(settings, deps)
  }
}
