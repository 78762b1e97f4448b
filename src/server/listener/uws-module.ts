/**
 * uWebSockets.js as far as Phyllo uses it, and its loading. It is an optional dependency with a binary per platform,
 * so its types are written out here and it is imported only at run time.
 */
import { isMainThread } from 'node:worker_threads'

declare const socketBrand: unique symbol
export interface UwsListenSocket {
  readonly [socketBrand]: true
}

/** One answer. Every method throws after an abort and after a complete answer. */
export interface UwsResponse {
  pause(): void
  resume(): void
  writeStatus(status: string): UwsResponse
  writeHeader(name: string | Uint8Array, value: string | Uint8Array): UwsResponse
  write(chunk: string | Uint8Array): boolean
  end(body?: string | Uint8Array, closeConnection?: boolean): UwsResponse
  endWithoutBody(): UwsResponse
  tryEnd(rest: string | Uint8Array, totalSize: number): [ok: boolean, done: boolean]
  getWriteOffset(): number
  close(): UwsResponse
  cork(callback: () => void): UwsResponse
  onWritable(handler: (offset: number) => boolean): UwsResponse
  onAborted(handler: () => void): UwsResponse
  onData(handler: (chunk: ArrayBuffer, isLast: boolean) => void): UwsResponse
  getRemoteAddress(): ArrayBuffer
}

/** One request; dead once the handler returned. */
export interface UwsRequest {
  getCaseSensitiveMethod(): string
  getUrl(): string
  /** What follows `?`; undefined, not empty, if there is none. */
  getQuery(): string | undefined
  forEach(callback: (name: string, value: string) => void): void
}

export interface UwsApp {
  any(pattern: string, handler: (res: UwsResponse, req: UwsRequest) => void): UwsApp
  listen(
    host: string,
    port: number,
    options: number,
    callback: (socket: UwsListenSocket | false) => void,
  ): UwsApp
  close(): UwsApp
}

export interface UwsModule {
  App(): UwsApp
  us_listen_socket_close(socket: UwsListenSocket): void
  us_socket_local_port(socket: UwsListenSocket): number
  readonly LIBUS_LISTEN_EXCLUSIVE_PORT: number
  _cfg?(key: string): void
}

/** Read by the addon once, when the process first loads it: bytes of a request head that came in several reads. */
const HEADERS_SIZE = 'UWS_HTTP_MAX_HEADERS_SIZE'
/** Its default of 4,096 refuses long JWTs. Phyllo's own `maxHeaderBytes` is the limit that counts; this is above it. */
const MOST_HEADER_BYTES = 64 * 1024

const isUws = (module: unknown): module is UwsModule =>
  typeof module === 'object' && module !== null && 'App' in module && 'us_listen_socket_close' in module

/** The addon, and the longest request head it takes. */
export interface LoadedUws {
  readonly module: UwsModule
  readonly mostHeaderBytes: number
}

/**
 * Loads uWebSockets.js; throws where there is none for this platform. The first load of a process must be on the main
 * thread: only there does setting `process.env` reach the C environment, which the addon reads. (A worker's
 * `process.env` is a copy; workers started later inherit the value, which is how one knows that it was set.)
 */
export async function loadUws(): Promise<LoadedUws> {
  if (isMainThread) process.env[HEADERS_SIZE] ??= String(MOST_HEADER_BYTES)
  // In a variable, so that neither tsc nor a bundler looks for a package that may not be there.
  const name = 'uWebSockets.js'
  const imported: unknown = await import(name)
  const module =
    typeof imported === 'object' && imported !== null && 'default' in imported ? imported.default : imported
  if (!isUws(module)) throw new Error('the uWebSockets.js package does not export App')
  return { module, mostHeaderBytes: Number(process.env[HEADERS_SIZE] ?? 4_096) }
}
