/** The power side of `NodeView`: what the battery is spent on. */
import type { PowerReport, PowerView } from '../api/view.ts'

export function powerView(report: () => PowerReport): PowerView {
  return { power: async () => report() }
}
