import type { Exchange, ExchangeDeps } from './exchange.ts'

export function joinExchange(_: ExchangeDeps, signal: AbortSignal): Promise<Exchange> {
  return Promise.reject(signal.reason as Error)
}
