/** The only door into node/ for programs that embed a device. */
export { loadConfig } from './config.ts'
export type { Config, ConfigInputs } from './config.ts'
export { runDevice } from './main.ts'
export * as fields from './config-fields.ts'
export { fileError, readConfigFile } from './config.ts'
export { lineOf, type ConfigProblem } from './config-file.ts'
export { checkKeys, checkKind, isTable, type CheckedTable } from './config-tables.ts'
export { formatDuration, formatSize, parseDuration, parseSize } from './config-values.ts'
export { systemClock, systemRandom, type Clock, type Random } from './env.ts'
export { asError, EXIT, NodeError } from './errors.ts'
export { createEmitter, type Emitter } from './events.ts'
export { Scope } from './lifecycle.ts'
export { createLogger, Secret, type Logger } from './log.ts'
export { readSecret, readSmallFile } from './machine/bounded.ts'
export { watchFile } from './machine/watch-file.ts'
export { nearest } from './nearest.ts'
export { printable } from './printable.ts'
export { isJsonValue, type JsonValue } from './config-rules.ts'
export type { CallView, Json } from './api/view-calls.ts'
export type { DeviceState, Role } from './api/view-devices.ts'
export type { NodeView } from './api/view.ts'
export { startGatewayDevice } from './device/gateway-start.ts'
export type {
  GatewayCall,
  GatewayCursor,
  GatewayDelivery,
  GatewayDevice,
  GatewayDeviceFacts,
  GatewayEvents,
  GatewayGap,
  GatewayHome,
  GatewayLeases,
  GatewayPack,
  GatewayReading,
} from './device/gateway.ts'
export { openDatabase, transaction } from './storage/db.ts'
export { writeFileAtomic } from './storage/files.ts'
export { openSocket } from './api/server.ts'
export { errorProblem, errorText, exitOf, table } from './cli/print.ts'
export { createCli, globalOptions, isOn, Stopped, type Cli } from './cli/context.ts'
export { confirm } from './cli/prompt.ts'
export { problemOf } from './api/problem.ts'
export { settingFlags } from './cli/commands/up.ts'
