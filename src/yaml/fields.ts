/** Building blocks of the schema: each gives a field its bounds, its default and a description that names the unit. */
import { z } from 'zod'

/** The longest delay that Node's timers take (2^31 - 1 ms, 24.8 days); beyond it they fire at once. */
const MAX_TIMER_MS = 2_147_483_647

/** A time in milliseconds. */
export const ms = (fallback: number, text: string, min = 1, max = MAX_TIMER_MS) =>
  z.int().min(min).max(max).default(fallback).describe(`${text} In milliseconds.`)

/** A size in bytes. */
export const bytes = (fallback: number, min: number, max: number, text: string) =>
  z.int().min(min).max(max).default(fallback).describe(`${text} In bytes.`)

export const count = (fallback: number, min: number, max: number, text: string) =>
  z.int().min(min).max(max).default(fallback).describe(text)

/** A TCP port. */
export const port = (fallback: number, text: string) =>
  z.int().min(0).max(65_535).default(fallback).describe(`${text} 0 takes a free one.`)

/** An address to listen on. */
export const host = (fallback: string, text: string) =>
  z
    .string()
    .regex(/^[\w.:%-]+$/, { error: 'expected a host name or an IP address, without brackets or port' })
    .default(fallback)
    .describe(text)

/** A name that people choose: a model, a pod, a profile. */
export const name = (text: string) =>
  z
    .string()
    // Names end up in headers, logs and metrics labels, where a control character does harm.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
    .regex(/^[^\u0000-\u001f\u007f]{1,256}$/, {
      error: 'expected 1 to 256 characters, none of them a control character',
    })
    .describe(text)

/** An absolute path of a URL, without a query. */
export const urlPath = (text: string) =>
  z
    .string()
    .regex(/^\/[^\s?#]*$/, { error: 'expected a path that begins with /, without a query' })
    .describe(text)
