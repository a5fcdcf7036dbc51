/**
 * What a plug-in is: types for those who write one. It is a module beside the settings file that
 * exports `create`, and it runs in a thread of its own, without Kith's environment and output.
 */
import type { ActionModel, DataSchema, EventModel, Json } from '../../../protocols/calls/index.ts'

export interface PluginContext {
  /** As in `[plugin.NAME]`. */
  readonly name: string
  /** The table `settings` of the settings file. */
  readonly settings: Readonly<Record<string, unknown>>
  /** A property has this value now, for those who observe it. */
  readonly changed: (property: string, value: Json) => void
  /** An event happened. */
  readonly happened: (event: string, data?: Json) => void
  /** One line for Kith's log. */
  readonly log: (text: string) => void
}

export interface PluginProperty {
  readonly schema: DataSchema
  readonly description?: string
  /** True where absent. */
  readonly readable?: boolean
  /** False where absent. */
  readonly writable?: boolean
  /** While a sleeper sleeps, only the last write counts. */
  readonly coalesce?: boolean
}

/** `signal` aborts when nobody waits for the answer any more. */
export interface Plugin {
  readonly properties?: Readonly<Record<string, PluginProperty>>
  readonly actions?: Readonly<Record<string, ActionModel>>
  readonly events?: Readonly<Record<string, EventModel>>
  read?(property: string, signal: AbortSignal): Json | Promise<Json>
  write?(property: string, value: Json, signal: AbortSignal): void | Promise<void>
  invoke?(
    action: string,
    args: Json | undefined,
    signal: AbortSignal,
  ): Json | undefined | void | Promise<Json | undefined | void>
  close?(): void | Promise<void>
}

export type CreatePlugin = (context: PluginContext) => Plugin | Promise<Plugin>
