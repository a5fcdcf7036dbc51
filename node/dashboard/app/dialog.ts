/**
 * A window above the page. It keeps the focus, which begins at the part marked `data-first`, closes
 * on Escape, and gives the focus back.
 */
import { html } from 'htm/preact'
import type { ComponentChildren, VNode } from 'preact'
import { useLayoutEffect, useRef } from 'preact/hooks'

import { ApiError } from './client.ts'

export interface DialogProps {
  readonly title: string
  /** Where a window has several: the focus begins anew with each. */
  readonly step?: string
  readonly onClose: () => void
  readonly children?: ComponentChildren
}

export function Dialog({ title, step, onClose, children }: DialogProps): VNode {
  const box = useRef<HTMLDialogElement>(null)
  useLayoutEffect(() => {
    const element = box.current
    element?.showModal()
    // Closing gives the focus back; taking the element away does not.
    return () => element?.close()
  }, [])
  useLayoutEffect(() => {
    box.current?.querySelector<HTMLElement>('[data-first]:enabled')?.focus()
  }, [step])
  return html`<dialog
    ref=${box}
    aria-labelledby="dialog-title"
    onCancel=${(event: Event) => {
      event.preventDefault()
      onClose()
    }}
  >
    <h2 id="dialog-title">${title}</h2>
    ${children}
  </dialog>`
}

/** What went wrong, and what to do about it. */
export interface Problem {
  readonly text: string
  readonly hint: string
}

/** Read out as soon as it appears. */
export function Trouble({ problem }: { readonly problem: Problem | undefined }): VNode {
  return html`<div class="trouble" role="alert">
    ${
      problem === undefined
        ? null
        : html`<strong>${problem.text}</strong>${problem.hint === '' ? null : ` ${problem.hint}`}`
    }
  </div>`
}

export function troubleOf(error: unknown): Problem {
  if (error instanceof ApiError) return { text: error.message, hint: error.hint }
  return { text: 'This device does not answer.', hint: 'Nothing was changed as far as is known.' }
}
