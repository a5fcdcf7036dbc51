/** One small line over the last hour. Moving over it tells the value under the pointer. */
import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'

import { extent, WINDOW_MS, type Series } from './series.ts'

const HEIGHT_PX = 44

export interface Point {
  readonly at: number
  readonly value: number
}

export interface ChartProps {
  readonly series: Series
  /** What the chart shows, for those who do not see it. */
  readonly label: string
  /** The right edge, so that all charts of the page end at the same moment. */
  readonly now: number
  /** The point under the pointer; undefined when it leaves. */
  readonly onPoint: (point: Point | undefined) => void
}

export function Chart({ series, label, now, onPoint }: ChartProps): VNode {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot>(null)
  const latest = useRef({ now, onPoint })
  latest.current = { now, onPoint }

  useEffect(() => {
    const element = box.current
    if (element === null) return
    const chart = new uPlot(options(element, latest), dataOf(series), element)
    plot.current = chart
    const resized = new ResizeObserver(() => {
      chart.setSize({ width: element.clientWidth, height: HEIGHT_PX })
    })
    resized.observe(element)
    const dark = matchMedia('(prefers-color-scheme: dark)')
    const recolour = (): void => chart.redraw()
    dark.addEventListener('change', recolour)
    return () => {
      dark.removeEventListener('change', recolour)
      resized.disconnect()
      chart.destroy()
    }
  }, [])
  useEffect(() => plot.current?.setData(dataOf(series)), [series, now])

  return html`<div class="chart" ref=${box} role="img" aria-label=${label}></div>`
}

function dataOf({ times, values }: Series): uPlot.AlignedData {
  return [[...times], [...values]]
}

function options(
  element: HTMLElement,
  latest: { readonly current: Pick<ChartProps, 'now' | 'onPoint'> },
): uPlot.Options {
  const colour = (name: string) => (): string =>
    getComputedStyle(element).getPropertyValue(name).trim()
  return {
    width: element.clientWidth,
    height: HEIGHT_PX,
    ms: 1,
    padding: [4, 3, 4, 3],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false, setScale: false }, points: { size: 7 } },
    axes: [{ show: false }, { show: false }],
    scales: {
      x: { time: true, range: () => [latest.current.now - WINDOW_MS, latest.current.now] },
      y: { range: (self) => room(self.data[1] ?? []) },
    },
    series: [
      {},
      {
        stroke: colour('--line'),
        fill: colour('--line-fill'),
        width: 1.5,
        points: { show: (self) => self.data[0].length < 2 },
      },
    ],
    hooks: {
      setCursor: [(self) => latest.current.onPoint(pointAt(self))],
    },
  }
}

function pointAt({ cursor, data }: uPlot): Point | undefined {
  const index = cursor.idx
  if (index === null || index === undefined) return undefined
  const at = data[0][index]
  const value = data[1]?.[index]
  return at === undefined || typeof value !== 'number' ? undefined : { at, value }
}

/** Some air above and below, and a flat line in the middle. */
function room(values: ArrayLike<number | null | undefined>): [number, number] {
  const found = extent(Array.from(values, (value) => value ?? null))
  if (found === undefined) return [0, 1]
  const air = Math.max((found.max - found.min) * 0.15, Math.abs(found.max) * 0.005, 1e-6)
  return [found.min - air, found.max + air]
}
