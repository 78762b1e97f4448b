/** All pod classes by name. A new one is a file here and a line in this list. */
import { a10g8b } from './a10g-8b.js'
import { h1008b } from './h100-8b.js'
import { h100x232b } from './h100x2-32b.js'
import { h100x870b } from './h100x8-70b.js'
import type { PodClass } from './pod-class.js'

export const podClasses: readonly PodClass[] = [a10g8b, h1008b, h100x232b, h100x870b]

export const podClassNamed = (name: string): PodClass | undefined =>
  podClasses.find(each => each.name === name)
