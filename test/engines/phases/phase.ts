/** A part of a run: engines of one kind, the router before them, and the cases. */
import type { Report } from '../harness.js'
import type { Installation } from '../install.js'

export interface Phase {
  readonly name: string
  run(installation: Installation): Promise<Report>
}
