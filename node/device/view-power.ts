/** The power side of `NodeView`: what the battery is spent on. */
import type { PowerReport, PowerView } from '../api/view.ts'
import { NodeError } from '../errors.ts'

/** `report` is undefined where this device keeps no ledger of its wakes. */
export function powerView(report: (() => PowerReport) | undefined): PowerView {
  return {
    async power() {
      if (report !== undefined) return report()
      throw new NodeError('NODE_CONFLICT', 'This device keeps no account of its power.')
    },
  }
}
