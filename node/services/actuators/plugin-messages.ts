/** What goes between Kith and the thread of a plug-in. Values go as JSON text. */

export interface PluginStart {
  readonly file: string
  readonly name: string
  readonly settings: unknown
}

export type PluginVerb = 'read' | 'write' | 'invoke' | 'close'

export type ToPlugin =
  | {
      readonly n: number
      readonly verb: PluginVerb
      readonly name: string
      readonly value?: string
    }
  | { readonly n: number; readonly abort: true }
  | { readonly ping: number }

export type FromPlugin =
  | { readonly ready: string }
  | { readonly n: number; readonly value?: string }
  | { readonly n: number; readonly failed: string }
  | { readonly changed: string; readonly value: string }
  | { readonly happened: string; readonly value?: string }
  | { readonly log: string }
  | { readonly pong: number }
